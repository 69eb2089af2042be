package sim

import (
	"math/rand/v2"
	"time"
)

// basicActions are those of senders, and the ends of the process.
func basicActions() []action {
	return []action{
		{"write", 20, true, func(s *server, r *rand.Rand) error {
			now := s.now().Unix()
			return s.writeSpan(someSeries(r), now-int64(1+r.IntN(15))*60, now)
		}},
		{"late", 8, true, func(s *server, r *rand.Rand) error {
			oldest := s.now().Add(-s.retention).Unix() + 60
			from := oldest + r.Int64N(int64(s.retention/time.Second))
			return s.writeSpan(someSeries(r), from, min(from+r.Int64N(900), s.now().Unix()))
		}},
		{"overwrite", 6, true, func(s *server, r *rand.Rand) error {
			var all []sample
			oldest := s.now().Add(-s.retention).Unix() + 60
			for _, p := range s.model.sorted() {
				if s.frequencies[series[p.series].metric] == p.frequency && p.second > oldest && p.second <= s.now().Unix() && r.IntN(10) == 0 {
					all = append(all, sample{p.series, p.second})
				}
			}
			return s.write(all[:min(len(all), 200)])
		}},
		{"sleep", 12, false, func(s *server, r *rand.Rand) error {
			s.pass(time.Duration(1+r.IntN(120)) * time.Second)
			return nil
		}},
		{"wait", 4, false, func(s *server, r *rand.Rand) error {
			s.pass(time.Duration(5+r.IntN(60)) * time.Minute)
			return nil
		}},
		{"checkpoint", 8, true, func(s *server, _ *rand.Rand) error { return s.checkpoint() }},
		{"maintain", 8, true, func(s *server, _ *rand.Rand) error { return s.store.Maintain() }},
		{"sync", 3, true, func(s *server, _ *rand.Rand) error { return s.syncPoint() }},
		{"free", 4, true, func(s *server, r *rand.Rand) error {
			to := s.now().Unix() - r.Int64N(int64(s.retention/time.Second))
			return s.free(to, pick(r, []string{"alpha"}, []string{"alpha", "n1"}, []string{"alpha", "n2"}, []string{"beta", "m1"})...)
		}},
		{"query", 4, true, func(s *server, _ *rand.Rand) error {
			if err := s.check(false); err != nil {
				return &mismatch{err}
			}
			return nil
		}},
		{"stop", 4, true, func(s *server, r *rand.Rand) error {
			if err := s.stop(); err != nil {
				return err
			}
			s.pass(time.Duration(r.IntN(600)) * time.Second)
			if err := s.startAgain(false); err != nil {
				return &mismatch{err}
			}
			return nil
		}},
		{"kill", 3, true, func(s *server, r *rand.Rand) error { return s.restartAs(false) }},
		{"power", 3, true, func(s *server, r *rand.Rand) error { return s.restartAs(true) }},
		{"kill-later", 3, true, func(s *server, r *rand.Rand) error { return s.stopLater(r, false) }},
		{"power-later", 3, true, func(s *server, r *rand.Rand) error { return s.stopLater(r, true) }},
	}
}

func (s *server) restartAs(power bool) error {
	if err := s.restart(power); err != nil {
		return &mismatch{err}
	}
	return nil
}

// stopLater ends the process after some operations.
func (s *server) stopLater(r *rand.Rand, power bool) error {
	n := 1 + r.IntN(pick(r, 10, 60, 200))
	s.stopAt, s.losePower = s.fsys.Operations()+n, power
	s.fsys.StopAfter(n)
	return nil
}
