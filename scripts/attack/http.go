package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// each runs f for n attackers at the same time and adds up what they sent.
func each(n int, f func(i int) int64) int64 {
	var sent atomic.Int64
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { sent.Add(f(i)) })
	}
	all.Wait()
	return sent.Load()
}

// dial opens a connection that is closed when ctx ends. It is nil if the server refuses it.
func dial(ctx context.Context, addr string) net.Conn {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil
	}
	context.AfterFunc(ctx, func() { c.Close() })
	return c
}

// retryPause is how long an attacker waits after the server has closed its connection: the attacks
// are on what a byte costs, not on the network.
const retryPause = time.Second

// headers sends 252 KB of short header fields on each of 200 connections, and as much of a header as
// is permitted on 200 others, and never ends them.
func headers(ctx context.Context, t *target) int64 {
	return each(400, func(i int) (sent int64) {
		text := "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("a:b\r\n", 50_400)
		if i%2 == 0 {
			text = "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("a: "+strings.Repeat("b", 250)+"\r\n", 120)
		}
		for ctx.Err() == nil {
			c := dial(ctx, t.Addr)
			if c == nil {
				continue
			}
			n, _ := io.WriteString(c, text)
			sent += int64(n)
			_, _ = io.Copy(io.Discard, c) // until the server closes it, or ctx ends
			time.Sleep(retryPause)
		}
		return sent
	})
}

// answersUnread sends requests with large headers and without a token as fast as it can, with bodies
// that never arrive and answers that it does not read.
func answersUnread(ctx context.Context, t *target) int64 {
	text := "POST /api/query HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n" + strings.Repeat("a: "+strings.Repeat("b", 250)+"\r\n", 120) + "\r\n"
	return each(400, func(int) (sent int64) {
		for ctx.Err() == nil {
			c := dial(ctx, t.Addr)
			if c == nil {
				continue
			}
			n, _ := io.WriteString(c, text)
			sent += int64(n)
			_, _ = io.Copy(io.Discard, c)
			time.Sleep(retryPause)
		}
		return sent
	})
}

// post sends one request over a new connection, waits for the end of its answer, and returns its
// size.
func post(ctx context.Context, t *target, token, path string, zipped []byte) int64 {
	c := dial(ctx, t.Addr)
	if c == nil {
		return 0
	}
	defer c.Close()
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", path, token, len(zipped))
	n, err := c.Write(append([]byte(head), zipped...))
	if err != nil {
		return int64(n)
	}
	if r, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	return int64(n)
}

// repeat sends the same request over n connections until ctx ends.
func repeat(ctx context.Context, t *target, n int, token, path string, zipped []byte) int64 {
	return each(n, func(int) (sent int64) {
		for ctx.Err() == nil {
			sent += post(ctx, t, token, path, zipped)
		}
		return sent
	})
}

func zip(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text) // to memory
	_ = w.Close()
	return b.Bytes()
}

// connections of one user.
const userConnections = 96

// duplicateIDs asks for the aggregate of 1.9 million ids that are all the same.
func duplicateIDs(ctx context.Context, t *target) int64 {
	body := fmt.Sprintf(`{"cluster":%q,"from":%d,"to":%d,"queries":[{"metric":"flops","host":"kept0","aggreg":true,"type":"hwthread","type-ids":["0"%s]}]}`,
		honestCluster, t.Second-1, t.Second+100, strings.Repeat(`,"0"`, 1_900_000))
	return repeat(ctx, t, userConnections, t.Tokens["user"], "/api/query", zip(body))
}

// duplicateMetrics asks for all nodes of 5,000 metrics that are all the same.
func duplicateMetrics(ctx context.Context, t *target) int64 {
	body := fmt.Sprintf(`{"cluster":%q,"from":%d,"to":%d,"for-all-nodes":["flops"%s]}`,
		honestCluster, t.Second-1, t.Second+100, strings.Repeat(`,"flops"`, 5000))
	return repeat(ctx, t, userConnections, t.Tokens["user"], "/api/query", zip(body))
}

// lines returns as many lines as fit into a body of 60 MB.
func lines(format string, from int) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // a valid level
	for size, i := 0, from; size < 60_000_000; i++ {
		n, _ := fmt.Fprintf(w, format, i) // to memory
		size += n
	}
	_ = w.Close()
	return b.Bytes()
}

// sendLines sends bodies of lines with different numbers until ctx ends, but at most n.
func sendLines(ctx context.Context, t *target, n int, format string) (sent int64) {
	for i := 0; i < n && ctx.Err() == nil; i++ {
		sent += post(context.WithoutCancel(ctx), t, t.Tokens["hostile"], "/api/write/?cluster="+hostileCluster, lines(format, i*10_000_000))
	}
	return sent
}

// unknownMetrics sends metrics that the server does not know.
func unknownMetrics(ctx context.Context, t *target) int64 {
	return sendLines(ctx, t, 5, "x%d,hostname=h value=1\n")
}

// oldHosts sends samples of new hosts that are too old to be stored.
func oldHosts(ctx context.Context, t *target) int64 {
	return sendLines(ctx, t, 5, "load,hostname=h%d value=1 1000\n")
}

// manyHosts fills the server with hosts of one cluster.
func manyHosts(ctx context.Context, t *target) int64 {
	var b strings.Builder
	for i := range 25_000 {
		fmt.Fprintf(&b, "load,hostname=h%d value=1 %d\n", i, t.Second)
	}
	return post(context.WithoutCancel(ctx), t, t.Tokens["hostile"], "/api/write/?cluster="+hostileCluster, zip(b.String()))
}

// manySeries fills the server's memory with series of one cluster.
func manySeries(ctx context.Context, t *target) (sent int64) {
	for host := 0; ctx.Err() == nil; host++ {
		format := fmt.Sprintf("flops,hostname=h%d,type=hwthread,type-id=%%d value=1.5 %d\n", host, t.Second)
		var b strings.Builder
		for i := range 16_000 {
			fmt.Fprintf(&b, format, i)
		}
		sent += post(context.WithoutCancel(ctx), t, t.Tokens["hostile"], "/api/write/?cluster="+hostileCluster, zip(b.String()))
	}
	return sent
}

// signatures sends forged tokens whose signatures are expensive to verify.
func signatures(ctx context.Context, t *target) int64 {
	return each(32, func(n int) (sent int64) {
		for i := n; ctx.Err() == nil; i++ {
			c := dial(ctx, t.Addr)
			if c == nil {
				continue
			}
			answers := bufio.NewReader(c)
			for ; ctx.Err() == nil; i++ {
				n, err := fmt.Fprintf(c, "GET /api/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", t.Forged[i%len(t.Forged)])
				sent += int64(n)
				if err != nil {
					break
				}
				r, err := http.ReadResponse(answers, nil)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, r.Body)
			}
			c.Close()
		}
		return sent
	})
}
