package lineprotocol

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// TestCollectorSample scans a real collector's batch and compares every line with strings.Split,
// which is enough as the batch has no escapes.
func TestCollectorSample(t *testing.T) {
	batch := sample(t)
	lines := strings.Split(strings.TrimSuffix(string(batch), "\n"), "\n")
	all := scanAll(t, batch)
	if len(all) != 186 || len(lines) != 186 {
		t.Fatalf("got %d of %d lines, want 186", len(all), len(lines))
	}
	series := map[string]Key{}
	for i, got := range all {
		if got.reason != "" {
			t.Fatalf("line %d was rejected: %s", i+1, got.reason)
		}
		if !scanIsPlain(lines[i]) {
			t.Errorf("not a plain line: %s", lines[i])
		}
		part := strings.Split(lines[i], " ")
		value, err := strconv.ParseFloat(strings.TrimRight(strings.TrimPrefix(part[1], "value="), "iu"), 64)
		if err != nil {
			t.Fatal(err)
		}
		wantTime := map[string]int64{"1795308589282213803": 1795308589282, "1795308594282214314": 1795308594282}[part[2]]
		want := Line{Number: i + 1, Key: []byte(part[0]), Value: value, Time: wantTime, HasTime: true}
		if !reflect.DeepEqual(got.Line, want) {
			t.Errorf("line %d:\n got %+v\nwant %+v", i+1, got.Line, want)
		}
		key, err := ParseKey(got.Key)
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		if want := splitPlainKey(part[0]); !reflect.DeepEqual(key, want) {
			t.Errorf("line %d:\n got %+v\nwant %+v", i+1, key, want)
		}
		series[part[0]] = key
	}
	if len(series) != 97 {
		t.Errorf("got %d series, want 97", len(series))
	}
}

func TestCollectorSampleSeries(t *testing.T) {
	f := func(key string, want Key) {
		t.Helper()
		if !bytes.Contains(sample(t), []byte(key+" ")) {
			t.Errorf("%s: not in the sample", key)
		}
		want.Cluster, want.Host = "testcluster", "vm"
		if got, err := ParseKey([]byte(key)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", key, got, err, want)
		}
	}
	f("load_one,cluster=testcluster,hostname=vm,type=node", Key{Metric: "load_one"})
	f("cpu_user,cluster=testcluster,hostname=vm,type=hwthread,type-id=1,unit=Percent",
		Key{Metric: "cpu_user", Type: "hwthread", TypeID: "1", Extra: []Tag{{"unit", "Percent"}}})
	f("numastats_numa_hit,cluster=testcluster,hostname=vm,type=memoryDomain,type-id=0",
		Key{Metric: "numastats_numa_hit", Type: "memoryDomain", TypeID: "0"})
	f("net_bytes_in,cluster=testcluster,hostname=vm,stype=network,stype-id=eth0,type=node",
		Key{Metric: "net_bytes_in", Subtype: "network", SubtypeID: "eth0"})
	f("disk_free,cluster=testcluster,device=/dev/vda,hostname=vm,type=node",
		Key{Metric: "disk_free", Extra: []Tag{{"device", "/dev/vda"}}})
}

func scanIsPlain(line string) bool {
	var s Scanner
	return s.scanPlain([]byte(line), &Line{})
}

// splitPlainKey parses a key without escapes.
func splitPlainKey(key string) Key {
	parts := strings.Split(key, ",")
	k := Key{Metric: parts[0]}
	named := map[string]*string{
		"cluster": &k.Cluster, "hostname": &k.Host, "type": &k.Type, "type-id": &k.TypeID,
		"stype": &k.Subtype, "stype-id": &k.SubtypeID,
	}
	for _, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		if field, ok := named[name]; ok {
			*field = value
		} else {
			k.Extra = append(k.Extra, Tag{name, value})
		}
	}
	if k.Type == "node" {
		k.Type = ""
	}
	return k
}
