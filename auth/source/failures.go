package source

import "time"

const (
	// firstPause is the minimum time between the first two log lines of one failure; it doubles up
	// to maxPause.
	firstPause = time.Minute
	maxPause   = time.Hour
	// maxTexts is how many different failures of one source are logged independently.
	maxTexts = 8
)

// failureLog decides which of a source's failures are logged: each at once, and again after growing
// pauses. A source may be read ten times a second, such as a file whose directory also contains the
// log. The zero value is ready.
type failureLog struct {
	pauses     map[string]pause // by the failure's text
	unresolved bool             // a failure was logged, and no read has succeeded since
}

type pause struct {
	length time.Duration
	end    time.Time
}

// failed reports whether to log a failure.
func (f *failureLog) failed(text string, now time.Time) bool {
	p, known := f.pauses[text]
	if !known && len(f.pauses) >= maxTexts { // the texts differ every time
		text = ""
		p = f.pauses[text]
	}
	if now.Before(p.end) {
		return false
	}
	if f.pauses == nil {
		f.pauses = make(map[string]pause)
	}
	p.length = min(max(firstPause, 2*p.length), maxPause)
	p.end = now.Add(p.length)
	f.pauses[text] = p
	f.unresolved = true
	return true
}

// succeeded ends the pauses that are over, and reports whether to log the recovery. The others go
// on, because a file that is rewritten in place fails and recovers all the time.
func (f *failureLog) succeeded(now time.Time) bool {
	for text, p := range f.pauses {
		if !now.Before(p.end) {
			delete(f.pauses, text)
		}
	}
	recovered := f.unresolved
	f.unresolved = false
	return recovered
}
