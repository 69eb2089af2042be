package disktest

import "maps"

// Kill ends the process: open files become unusable, everything written stays.
func (f *FS) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restart()
}

func (f *FS) restart() {
	f.boots++
	f.last = 0
	f.inject = nil
}

// LosePower ends the process and loses unsynced changes: all, some or none of them. Each unsynced
// change of a name may have happened or not. Of the changes of a file any may survive, torn at any
// byte, with gaps of zeros or other bytes.
func (f *FS) LosePower() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restart()
	style := f.rng.IntN(3)
	for _, c := range f.names {
		if style == 0 || style == 1 && f.rng.IntN(2) == 0 {
			c.apply(c.dir.synced)
		}
	}
	f.names = nil
	for _, dir := range f.dirs {
		dir.now = maps.Clone(dir.synced)
	}
	for _, node := range f.inodes() {
		f.lose(node)
	}
}

// lose leaves a file as a loss of power may leave it.
func (f *FS) lose(n *inode) {
	style := f.rng.IntN(5)
	fill := byte(f.rng.IntN(2) * f.rng.IntN(256))
	size := len(n.data)
	survivors := n.dirty
	switch style {
	case 0, 4:
		survivors = nil
	case 1: // all
	case 2: // the first ones
		survivors = n.dirty[:f.rng.IntN(len(n.dirty)+1)]
	case 3: // any of them
		survivors = nil
		for _, c := range n.dirty {
			if f.rng.IntN(2) == 0 {
				survivors = append(survivors, c)
			}
		}
	}
	for i, c := range survivors {
		last := i == len(survivors)-1
		if (style == 2 && last || style == 3) && !c.resize {
			c.data = c.data[:f.rng.IntN(len(c.data)+1)]
		}
		n.synced = c.apply(n.synced, fill)
	}
	if style == 4 && size > len(n.synced) { // the new size, but not the bytes
		n.synced = change{resize: true, size: int64(size), off: int64(size)}.apply(n.synced, fill)
	}
	n.dirty = nil
	n.data = append([]byte(nil), n.synced...)
}

// forget does what a failed fsync does: some of the dirty bytes are on disk, the others never will
// be. Reads may still return them (ext4, XFS) or not (Btrfs).
func (f *FS) forget(n *inode) {
	for _, c := range n.dirty {
		if f.rng.IntN(2) == 0 {
			n.synced = c.apply(n.synced, 0)
		}
	}
	n.dirty = nil
	if f.rng.IntN(2) == 0 {
		size := int64(len(n.data))
		n.data = change{resize: true, size: size, off: size}.apply(append([]byte(nil), n.synced...), 0)
	}
}
