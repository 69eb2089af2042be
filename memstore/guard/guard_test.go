package guard

import (
	"testing"
	"time"
)

const day = 24 * time.Hour

// clocks are a wall clock and a monotonic clock that a test sets.
type clocks struct {
	t         *testing.T
	guard     *Clock
	wall      time.Time
	monotonic time.Duration
}

func newClocks(t *testing.T) *clocks {
	c := &clocks{t: t, wall: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)}
	c.restart(false)
	return c
}

func (c *clocks) restart(resume bool) {
	var last Times
	if resume {
		last = c.guard.Times()
	}
	c.monotonic = 0
	c.guard = New(func() (time.Time, time.Duration) { return c.wall, c.monotonic })
	if resume {
		c.guard.Resume(last)
	}
}

// pass lets time pass, in which the guard is read every step.
func (c *clocks) pass(d, step time.Duration) {
	for ; d > 0; d -= step {
		c.wall, c.monotonic = c.wall.Add(min(d, step)), c.monotonic+min(d, step)
		c.guard.Now()
	}
}

// expect checks by how much the wall clock is ahead, to the second.
func (c *clocks) expect(what string, ahead time.Duration) {
	c.t.Helper()
	if got := c.wall.Sub(c.guard.Now()); (got - ahead).Abs() > time.Second {
		c.t.Fatalf("%s: the wall clock is %v ahead, want %v", what, got, ahead)
	}
}

func TestJumpAhead(t *testing.T) {
	for _, step := range []time.Duration{10 * time.Second, 25 * time.Minute} {
		c := newClocks(t)
		c.pass(3*day, step)
		c.expect("without a jump", 0)
		c.wall = c.wall.Add(3 * day)
		c.expect("at the jump", 3*day)
		c.pass(50*time.Minute, step)
		c.expect("within the hour", 3*day)
		if in := c.guard.State().ConfirmedIn; in != 10*time.Minute {
			t.Errorf("confirmed in %v", in)
		}
		c.pass(25*time.Minute, step)
		c.expect("after the hour", 0)
	}
}

// A jump is not trusted because nobody has read the clocks for an hour.
func TestJumpBetweenReadings(t *testing.T) {
	c := newClocks(t)
	c.pass(5*time.Hour, 5*time.Hour)
	c.wall = c.wall.Add(3 * day)
	c.pass(5*time.Hour, 5*time.Hour)
	c.expect("at the first reading", 3*day)
	c.pass(5*time.Hour, 5*time.Hour)
	c.expect("at the second", 0)
}

func TestJumpForSeconds(t *testing.T) {
	c := newClocks(t)
	for range 20 {
		c.wall = c.wall.Add(3 * day)
		c.pass(14*time.Second, time.Second)
		c.expect("ahead", 3*day)
		c.wall = c.wall.Add(-3 * day)
		c.expect("back", 0)
		c.pass(10*time.Minute, time.Second)
		c.expect("later", 0)
	}
}

// Each jump begins the hour again.
func TestRepeatedJumps(t *testing.T) {
	c := newClocks(t)
	for i := range 10 {
		c.wall = c.wall.Add(time.Minute)
		c.pass(59*time.Minute, time.Minute)
		c.expect("less than an hour apart", time.Duration(i+1)*time.Minute)
	}
	c.pass(2*time.Minute, time.Minute)
	c.expect("after an hour", 0)
}

func TestStepBack(t *testing.T) {
	c := newClocks(t)
	c.pass(day, time.Minute)
	right := c.wall
	c.wall = c.wall.Add(-3 * day)
	c.expect("back", 0)
	if latest := c.guard.Latest(); !latest.Equal(right) {
		t.Errorf("latest %v, want %v", latest, right)
	}
	c.pass(5*time.Hour, time.Minute)
	c.expect("later", 0)
	if latest := c.guard.Latest(); !latest.Equal(right.Add(5 * time.Hour)) {
		t.Errorf("latest %v, want %v", latest, right.Add(5*time.Hour))
	}
	c.wall = c.wall.Add(3 * day)
	c.expect("ahead again", 3*day)
	c.pass(time.Hour, time.Minute)
	c.expect("an hour later", 0)
}

// What an NTP daemon slews, and what a bad crystal loses, is no jump.
func TestDrift(t *testing.T) {
	for _, ppm := range []int{500, -500, 2000, -2000} {
		c := newClocks(t)
		for range 6 * 60 * 24 * 30 { // a month
			c.wall = c.wall.Add(10*time.Second + 10*time.Second*time.Duration(ppm)/1e6)
			c.monotonic += 10 * time.Second
			if ahead := c.guard.State().Ahead; ahead > 8*time.Second {
				t.Fatalf("%d ppm: %v ahead after %v", ppm, ahead, c.monotonic)
			}
		}
	}
}

// It never runs ahead of the monotonic clock within an hour, whatever the wall clock does.
func TestNeverAheadOfMonotonic(t *testing.T) {
	c := newClocks(t)
	from := c.guard.Now()
	for i := range 1000 {
		c.pass(14*time.Second, 7*time.Second)
		c.wall = c.wall.Add([]time.Duration{day, 11 * time.Second, -13 * time.Second, time.Hour, -time.Hour}[i%5])
		if ahead := c.guard.Now().Sub(from) - c.monotonic; ahead > 0 {
			t.Fatalf("%v ahead of the monotonic clock", ahead)
		}
		if c.guard.Now().After(c.wall) {
			t.Fatal("ahead of the wall clock")
		}
	}
}

// While a machine is suspended its monotonic clock stands still.
func TestSuspend(t *testing.T) {
	c := newClocks(t)
	c.pass(day, time.Minute)
	c.wall = c.wall.Add(8 * time.Hour)
	c.expect("after a night", 8*time.Hour)
	c.pass(time.Hour, time.Minute)
	c.expect("an hour later", 0)
}

func TestRestart(t *testing.T) {
	c := newClocks(t)
	c.pass(day, time.Minute)
	c.wall = c.wall.Add(7 * day) // switched off
	c.restart(true)
	c.expect("after a week", 7*day)
	c.pass(30*time.Minute, time.Minute)
	c.restart(true)
	c.pass(59*time.Minute, time.Minute)
	c.expect("after another restart", 7*day)
	c.pass(time.Minute, time.Minute)
	c.expect("an hour later", 0)

	right := c.wall
	c.wall = c.wall.Add(-3 * day)
	c.restart(true)
	c.expect("set back while it was off", 0)
	c.restart(true)
	if latest := c.guard.Latest(); !latest.Equal(right) {
		t.Errorf("latest %v, want %v", latest, right)
	}
}

func TestConfirm(t *testing.T) {
	c := newClocks(t)
	c.wall = c.wall.Add(3 * day)
	if before := c.guard.Confirm(); before.Ahead != 3*day || before.ConfirmedIn != time.Hour {
		t.Errorf("%+v", before)
	}
	c.expect("confirmed", 0)
	c.wall = c.wall.Add(-3 * day)
	c.guard.Confirm()
	if latest := c.guard.Latest(); !latest.Equal(c.wall) {
		t.Errorf("latest %v, want %v", latest, c.wall)
	}
}

func TestSystemClocks(t *testing.T) {
	g := New(nil)
	if s := g.State(); s.Ahead.Abs() > time.Minute || time.Since(s.Now).Abs() > time.Minute {
		t.Errorf("%+v", s)
	}
}
