package auth

// recent is a map of what was used last, in two generations in place of a list in order of use: what is used is put into
// the young one, and at a turn that becomes the old one, whose remainder goes. Its owner says when it turns.
type recent[K comparable, V any] struct{ young, old map[K]V }

// get returns the zero value for what is not there; young says that it need not be put again.
func (r *recent[K, V]) get(key K) (v V, young bool) {
	if v, young = r.young[key]; !young {
		v = r.old[key]
	}
	return v, young
}

func (r *recent[K, V]) put(key K, v V) {
	if r.young == nil {
		r.young = make(map[K]V)
	}
	r.young[key] = v
}

func (r *recent[K, V]) turn() { r.old, r.young = r.young, nil }
