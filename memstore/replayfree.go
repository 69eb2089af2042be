package memstore

// readLane reads a lane of a call of free.
func (t *Tombstone) readLane(p *parser) {
	name := LaneName{Cluster: p.name("cluster"), Host: p.name("host"), Frequency: p.frequency()}
	l := TombstoneLane{Usual: t.limit() + p.Varint(minTime, -minTime, "freed time")}
	n := p.Count(6, "freed series")
	if n > 0 {
		l.Series = make(map[SeriesName]int64)
	}
	for ; n > 0 && p.Err() == nil; n-- {
		sr := SeriesName{Metric: p.name("metric")}
		sr.Device = Device{Type: p.name("type"), TypeID: p.name("type id"), Subtype: p.name("subtype"), SubtypeID: p.name("subtype id")}
		l.Series[sr] = t.limit() + p.Varint(minTime, -minTime, "freed time")
	}
	if p.Err() == nil {
		t.Lanes[name] = l
	}
}

// freeAgain deletes what a call of free deleted.
func (r *Restorer) freeAgain(c *Tombstone) {
	r.Tombstones = append(r.Tombstones, *c)
	for _, h := range r.store.allHosts() {
		if !c.coversHost(h.cluster, h.name) {
			continue
		}
		h.mu.Lock()
		before := make(map[*lane]map[uint32]int64)
		for _, l := range h.lanes {
			r.applyExtents(l)
			before[l] = make(map[uint32]int64)
		}
		h.tree.visit(c.devices(), func(sr *Series) {
			l := sr.lane
			end := c.end(LaneName{h.cluster, h.name, l.frequency}, SeriesName{sr.metric.Name, sr.level.device})
			before[l][sr.column] = slotAt(l.grid, l.frequency, end)
		})
		for _, l := range h.lanes {
			r.store.freed.addAll(h, l, r.store.freeSlots(h, l, before[l]))
		}
		h.shrink(r.store)
		h.mu.Unlock()
		r.store.removeIfEmpty(h)
	}
}
