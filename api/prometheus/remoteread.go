package prometheus

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Remote read lets a Prometheus read several stores together
// (https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/).

const (
	maxReadRequest  = 1 << 20 // bytes of a request, compressed and decompressed
	frameBytes      = 1 << 20 // about the size of one frame of streamed chunks
	samplesPerChunk = 120
)

// remoteRead answers the samples, or chunks of them, of the series that the request selects.
func (a *API) remoteRead(w http.ResponseWriter, r *http.Request, c Caller) error {
	req, err := decodeReadRequest(w, r)
	if err != nil {
		return err
	}
	streamed, err := responseType(req.AcceptedResponseTypes)
	if err != nil {
		return err
	}
	left := a.o.MaxSamples
	if c.MaxSamples > 0 {
		left = min(left, c.MaxSamples)
	}
	var size expressionSize
	reading := c.reading()
	reads := make([]storage.SeriesSet, len(req.Queries))
	for i, q := range req.Queries {
		if reads[i], err = a.selectFor(r.Context(), q, reading, &size); err != nil {
			return err
		}
	}
	if streamed {
		return streamChunks(w, reads)
	}
	return answerSamples(w, reads, left)
}

func decodeReadRequest(w http.ResponseWriter, r *http.Request) (*prompb.ReadRequest, error) {
	compressed, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReadRequest))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Type: "bad_data", Public: "the request is larger than " + strconv.Itoa(maxReadRequest) + " bytes"}
	}
	if err != nil {
		return nil, badData("the body cannot be read: %v", err)
	}
	if n, err := snappy.DecodedLen(compressed); err != nil || n > maxReadRequest {
		return nil, badData("the body is not a message of at most %d bytes in Snappy's block format", maxReadRequest)
	}
	message, err := snappy.Decode(nil, compressed)
	if err != nil {
		return nil, badData("the body is not in Snappy's block format: %v", err)
	}
	req := new(prompb.ReadRequest)
	if err := req.Unmarshal(message); err != nil {
		return nil, badData("the body is not a prometheus.ReadRequest: %v", err)
	}
	if len(req.Queries) > maxSelectors {
		return nil, badData("expected at most %d queries, got %d", maxSelectors, len(req.Queries))
	}
	return req, nil
}

// responseType returns whether chunks are streamed: the first type of the list that is known. Without
// a list, samples are answered.
func responseType(accepted []prompb.ReadRequest_ResponseType) (streamed bool, err error) {
	for _, t := range accepted {
		switch t {
		case prompb.ReadRequest_STREAMED_XOR_CHUNKS:
			return true, nil
		case prompb.ReadRequest_SAMPLES:
			return false, nil
		}
	}
	if len(accepted) > 0 {
		return false, badData("accepted_response_types: expected SAMPLES or STREAMED_XOR_CHUNKS, got %v", accepted[0])
	}
	return false, nil
}

func (a *API) selectFor(ctx context.Context, q *prompb.Query, from *reading, size *expressionSize) (storage.SeriesSet, error) {
	if q == nil {
		return nil, badData("a query is missing")
	}
	var matchers []*labels.Matcher
	for _, m := range q.Matchers {
		if err := size.add(m.GetValue()); err != nil {
			return nil, badData("%v", err)
		}
		matcher, err := matcherOf(m)
		if err != nil {
			return nil, err
		}
		matchers = append(matchers, matcher)
	}
	from.cost.Seconds = max(from.cost.Seconds, (q.EndTimestampMs-q.StartTimestampMs)/1000)
	reader := &querier{queryable{a, from}, q.StartTimestampMs, q.EndTimestampMs}
	return reader.Select(ctx, true, nil, matchers...), nil
}

func matcherOf(m *prompb.LabelMatcher) (*labels.Matcher, error) {
	if m == nil {
		return nil, badData("a matcher is missing")
	}
	types := map[prompb.LabelMatcher_Type]labels.MatchType{
		prompb.LabelMatcher_EQ: labels.MatchEqual, prompb.LabelMatcher_NEQ: labels.MatchNotEqual,
		prompb.LabelMatcher_RE: labels.MatchRegexp, prompb.LabelMatcher_NRE: labels.MatchNotRegexp,
	}
	t, ok := types[m.Type]
	if !ok {
		return nil, badData("matcher of %q: unknown type %d", clip(m.Name), m.Type)
	}
	matcher, err := labels.NewMatcher(t, m.Name, m.Value)
	if err != nil {
		return nil, badData("matcher of %q: %v", clip(m.Name), err)
	}
	return matcher, nil
}

// answerSamples answers all samples in one message, at most as many as left says.
func answerSamples(w http.ResponseWriter, reads []storage.SeriesSet, left int) error {
	var resp prompb.ReadResponse
	var it chunkenc.Iterator
	for _, q := range reads {
		result := new(prompb.QueryResult)
		for q.Next() {
			s := q.At()
			series := &prompb.TimeSeries{Labels: prompb.FromLabels(s.Labels(), nil)}
			it = s.Iterator(it)
			for it.Next() != chunkenc.ValNone {
				if left--; left < 0 {
					return failed(promql.ErrTooManySamplesRead("remote read"))
				}
				t, v := it.At()
				series.Samples = append(series.Samples, prompb.Sample{Timestamp: t, Value: v})
			}
			if err := it.Err(); err != nil {
				return failed(promql.ErrStorage{Err: err})
			}
			if len(series.Samples) > 0 {
				result.Timeseries = append(result.Timeseries, series)
			}
		}
		if err := q.Err(); err != nil {
			return failed(promql.ErrStorage{Err: err})
		}
		resp.Results = append(resp.Results, result)
	}
	message, err := resp.Marshal()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Header().Set("Content-Encoding", "snappy")
	_, err = w.Write(snappy.Encode(nil, message))
	return err
}

// streamChunks answers chunks of samples, series by series, in frames that are sent when they are
// full. Memory does not grow with the number of samples.
func streamChunks(w http.ResponseWriter, reads []storage.SeriesSet) error {
	w.Header().Set("Content-Type", "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse")
	var it chunkenc.Iterator
	for i, q := range reads {
		for q.Next() {
			s := q.At()
			it = s.Iterator(it)
			if err := streamSeries(w, int64(i), s.Labels(), it); err != nil {
				return err
			}
		}
		if err := q.Err(); err != nil {
			return failed(promql.ErrStorage{Err: err})
		}
	}
	return nil
}

// streamSeries sends the frames of one series.
func streamSeries(w http.ResponseWriter, query int64, l labels.Labels, it chunkenc.Iterator) error {
	series := &prompb.ChunkedSeries{Labels: prompb.FromLabels(l, nil)}
	bytes := 0
	send := func() error {
		if len(series.Chunks) == 0 {
			return nil
		}
		err := writeFrame(w, &prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{series}, QueryIndex: query})
		series.Chunks, bytes = series.Chunks[:0], 0
		return err
	}
	for it.Next() != chunkenc.ValNone {
		chunk, err := chunkOf(it)
		if err != nil {
			return err
		}
		series.Chunks = append(series.Chunks, chunk)
		if bytes += len(chunk.Data); bytes >= frameBytes {
			if err := send(); err != nil {
				return err
			}
		}
	}
	if err := it.Err(); err != nil {
		return failed(promql.ErrStorage{Err: err})
	}
	return send()
}

// chunkOf returns a chunk of the sample on which the iterator stands and those after it.
func chunkOf(it chunkenc.Iterator) (prompb.Chunk, error) {
	xor := chunkenc.NewXORChunk()
	app, err := xor.Appender()
	if err != nil {
		return prompb.Chunk{}, err
	}
	c := prompb.Chunk{Type: prompb.Chunk_XOR, MinTimeMs: it.AtT()}
	for n := 1; ; n++ {
		t, v := it.At()
		app.Append(0, t, v)
		c.MaxTimeMs = t
		if n == samplesPerChunk || it.Next() == chunkenc.ValNone {
			break
		}
	}
	c.Data = slices.Clone(xor.Bytes())
	return c, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// writeFrame sends a message with its length and its checksum before it.
func writeFrame(w http.ResponseWriter, m *prompb.ChunkedReadResponse) error {
	message, err := m.Marshal()
	if err != nil {
		return err
	}
	head := binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen64+4), uint64(len(message)))
	head = binary.BigEndian.AppendUint32(head, crc32.Checksum(message, castagnoli))
	if _, err := w.Write(head); err != nil {
		return err
	}
	if _, err := w.Write(message); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
