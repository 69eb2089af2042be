package sim

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"

	pq "github.com/parquet-go/parquet-go"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/parquet"
)

// row is a row of a Parquet file.
type row struct {
	Hostname  string  `parquet:"hostname"`
	Metric    string  `parquet:"metric"`
	Scope     string  `parquet:"scope"`
	ScopeID   string  `parquet:"scope_id"`
	Timestamp int64   `parquet:"timestamp"`
	Value     float64 `parquet:"value"`
}

// instant is a time of a series, at any frequency.
type instant struct {
	series int
	second int64
}

// rows returns the rows of all Parquet files. It must not be called in a synctest bubble: the Parquet
// library has decoders that bubbles would share.
func (s *server) rows() (map[instant][]float64, error) {
	all := make(map[instant][]float64)
	folders, _ := disk.List(s.fsys, parquetDir)
	for _, folder := range folders {
		files, _ := disk.List(s.fsys, filepath.Join(parquetDir, folder.Name()))
		for _, f := range files {
			path := filepath.Join(parquetDir, folder.Name(), f.Name())
			if filepath.Ext(path) != ".parquet" {
				continue
			}
			content, err := s.read(path)
			if err != nil {
				return nil, err
			}
			rows, err := pq.Read[row](bytes.NewReader(content), int64(len(content)))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			for _, r := range rows {
				at := instant{-1, r.Timestamp}
				for i, x := range series {
					scope, id := parquet.Scope(x.Device)
					if x.Cluster == folder.Name() && x.Host == r.Hostname && x.Metric == r.Metric && scope == r.Scope && id == r.ScopeID {
						at.series = i
					}
				}
				all[at] = append(all[at], r.Value)
			}
		}
	}
	return all, nil
}

// checkArchive checks that every sample is in blocks or, once, in Parquet files.
func (s *server) checkArchive() error {
	rows, err := s.rows()
	if err != nil {
		return err
	}
	sent := make(map[instant][]float64)
	for _, p := range s.model.sorted() {
		at := instant{p.series, p.second}
		for _, e := range s.model.places[p] {
			sent[at] = append(sent[at], e.outcome)
		}
		if s.frequencies[series[p.series].metric] != p.frequency || p.second > s.last.newest {
			continue
		}
		_, inBlocks := s.last.values[p]
		if !inBlocks && len(rows[at]) == 0 && !slices.Contains(s.model.outcomes(p, false, false), absent) {
			return fmt.Errorf("%+v is neither in blocks nor archived; events %+v", p, s.model.places[p])
		}
	}
	if s.rewound || s.changed { // the archive has what was written after the snapshot, or what is forgotten
		return nil
	}
	for at, values := range rows {
		if len(values) > 1 || at.series < 0 || !slices.Contains(sent[at], values[0]) {
			return fmt.Errorf("%+v is archived with %v, and was sent with %v", at, values, sent[at])
		}
	}
	return nil
}
