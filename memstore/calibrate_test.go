package memstore

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The memory accounting of a store in each shape of data is the heap that it takes, within a factor:
// never much less, which would break the cap, nor much more, which would waste it.
func TestAccountingIsCalibrated(t *testing.T) {
	if testing.Short() {
		t.Skip("fills several stores")
	}
	const minFactor, maxFactor = 0.75, 1.15 // heap to accounted
	const slack = 2 << 20                   // partly used spans
	shapes := []struct {
		name string
		fill func(f *filler)
	}{
		{"many hosts", func(f *filler) {
			for h := range 20_000 {
				f.write(numbered(h), "m0", Device{})
			}
		}},
		{"many devices", func(f *filler) {
			for h := range 4 {
				for d := range 10_000 {
					f.write(numbered(h), "m0", thread(fmt.Sprint(d)))
				}
			}
		}},
		{"many metrics", func(f *filler) {
			for h := range 1000 {
				for m := range 100 {
					f.write(numbered(h), fmt.Sprint("m", m), Device{})
				}
			}
		}},
		{"few series of many hosts", func(f *filler) {
			for h := range 5000 {
				for d := range 3 {
					f.write(numbered(h), "m0", thread(fmt.Sprint(d)))
					f.write(numbered(h), "m1", thread(fmt.Sprint(d)))
				}
			}
		}},
		{"long names", func(f *filler) {
			long := strings.Repeat("x", 200)
			for d := range 10_000 {
				id := fmt.Sprint(long, d)
				f.write("n", "m0", Device{long[:10] + id, id, id, id})
			}
		}},
		{"parts of devices", func(f *filler) {
			for d := range 2000 {
				for p := range 10 {
					f.write("n", "m0", Device{"hwthread", fmt.Sprint(d), "part", fmt.Sprint(p)})
				}
			}
		}},
		{"full heads", func(f *filler) {
			for range 200 {
				for h := range 5 {
					for d := range 1000 {
						f.write(numbered(h), "m0", thread(fmt.Sprint(d)))
					}
				}
				f.now += 60
			}
		}},
		{"blocks", func(f *filler) {
			for range 500 {
				for h := range 20 {
					for d := range 50 {
						f.write(numbered(h), "m0", thread(fmt.Sprint(d)))
					}
				}
				f.minute()
			}
		}},
		{"short blocks", func(f *filler) {
			for range 500 {
				for h := range 500 {
					f.write(numbered(h), "m0", Device{})
				}
				f.minute()
			}
		}},
		{"churn of devices", func(f *filler) {
			for minute := range 1000 {
				for h := range 4 {
					f.write(numbered(h), "m0", thread("stays"))
					for d := range 20 {
						f.write(numbered(h), "m0", thread(fmt.Sprint(minute, " ", d)))
					}
				}
				f.minute()
			}
		}},
		{"churn of devices, some of which stay", func(f *filler) {
			for minute := range 1500 {
				for d := range minute/10 + 1 {
					f.write("n", "m0", thread(fmt.Sprint(d)))
				}
				for d := range 20 {
					f.write("n", "m0", thread(fmt.Sprint(minute, " ", d)))
				}
				f.minute()
			}
		}},
		{"churn of hosts", func(f *filler) {
			for minute := range 600 {
				for h := range 20 {
					f.write(fmt.Sprint("n", minute, "-", h), "m0", Device{})
				}
				f.minute()
			}
		}},
	}
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			f := newFiller(t)
			before := heapInUse()
			s.fill(f)
			maintain(t, f.Store)
			checkAccount(t, f.Store, "at the end")
			f.spare, f.sealers = spareRows{}, newSealers() // their size does not depend on the data
			after := heapInUse()
			heap, accounted := after-before, f.Size().Bytes
			factor := max(float64(heap-slack)/float64(accounted), min(float64(heap)/float64(accounted), 1))
			t.Logf("%d series, %d blocks: heap %.1f MB, accounted %.1f MB: factor %.2f", f.Size().Series, f.Size().Blocks, float64(heap)/1e6, float64(accounted)/1e6, factor)
			if factor < minFactor || factor > maxFactor {
				t.Errorf("heap %d, accounted %d: factor %.2f, want %.2f to %.2f", heap, accounted, factor, minFactor, maxFactor)
			}
			runtime.KeepAlive(f)
		})
	}
}

func numbered(n int) string { return fmt.Sprintf("node%05d", n) }

// filler is a store that keeps 8 hours of samples.
type filler struct {
	*Store
	t      *testing.T
	now    int64 // seconds
	random *rand.Rand
}

func newFiller(t *testing.T) *filler {
	f := &filler{t: t, now: base, random: rand.New(rand.NewPCG(1, 6))}
	o := Options{Retention: 8 * time.Hour, Now: func() time.Time { return time.Unix(f.now, 0) }, Limits: Limits{Hosts: 1 << 20, DevicesPerHost: 1 << 20}}
	for m := range 100 {
		o.Metrics = append(o.Metrics, Metric{Name: fmt.Sprint("m", m), Frequency: time.Minute})
	}
	var err error
	if f.Store, err = New(o); err != nil {
		t.Fatal(err)
	}
	return f
}

// write writes a sample. Names are copies, as those of lines are.
func (f *filler) write(host, metric string, d Device) {
	k := Key{"alpha", strings.Clone(host), metric, Device{strings.Clone(d.Type), strings.Clone(d.TypeID), strings.Clone(d.Subtype), strings.Clone(d.SubtypeID)}}
	sr, err := f.Series(k)
	if err != nil {
		f.t.Fatal(err)
	}
	if refused, err := f.Write([]Sample{{sr, f.now * 1000, f.random.Float64()}}); err != nil || len(refused) > 0 {
		f.t.Fatal(refused, err)
	}
}

// minute lets a minute pass, and maintains the store and commits a snapshot now and then.
func (f *filler) minute() {
	if f.now += 60; f.now/60%30 == 0 {
		maintain(f.t, f.Store)
		commit(f.t, f.Store)
	}
}

// heapInUse returns the size of the heap after a collection. The first one does not empty pools.
func heapInUse() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
