package nats

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// serverVariable makes the test binary a nats-server with the configuration file that it names.
const serverVariable = "RINGSTORE_TEST_NATS_CONFIG"

// longVariable is how long the tests that kill processes run, as a duration.
const longVariable = "RINGSTORE_TEST_KILL_FOR"

// serveAlone runs nats-server. It does not return.
func serveAlone(config string) {
	o, err := server.ProcessConfigFile(config)
	if err == nil {
		o.NoSigs = true
		var s *server.Server
		if s, err = server.NewServer(o); err == nil {
			s.ConfigureLogger()
			s.Start()
			s.WaitForShutdown()
			os.Exit(0)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// process is a nats-server in a process of its own.
type process struct {
	t      testing.TB
	config string
	url    string
	cmd    *exec.Cmd
	stderr *bytes.Buffer
}

// newProcess starts a nats-server with a port, a directory for streams and more configuration.
func newProcess(t testing.TB, more string) *process {
	t.Helper()
	return newProcessAt(t, freePort(t), more)
}

func newProcessAt(t testing.TB, port int, more string) *process {
	t.Helper()
	dir := t.TempDir()
	p := &process{t: t, config: filepath.Join(dir, "nats-server.conf"), url: fmt.Sprintf("nats://127.0.0.1:%d", port)}
	config := fmt.Sprintf("listen: 127.0.0.1:%d\njetstream: {store_dir: %q}\n%s\n", port, filepath.Join(dir, "streams"), more)
	if err := os.WriteFile(p.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	p.start()
	return p
}

func (p *process) start() {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.stderr = exec.Command(self), new(bytes.Buffer)
	p.cmd.Env = append(os.Environ(), serverVariable+"="+p.config)
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	address := strings.TrimPrefix(p.url, "nats://")
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return
		}
	}
	p.kill()
	p.t.Fatalf("the server did not start: %s", p.stderr)
}

// kill kills the process with SIGKILL.
func (p *process) kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// acked publishes samples of new hosts, one at a time, until it is stopped, and records those that
// the stream has acknowledged. It sends others again, as they may be lost.
type acked struct {
	hosts   []string
	stop    context.CancelFunc
	stopped chan struct{}
}

func publishAcked(t testing.TB, url string, options ...natsgo.Option) *acked {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	a := &acked{stop: stop, stopped: make(chan struct{})}
	js := newJetStream(t, connect(t, url, append(options, natsgo.MaxReconnects(-1), natsgo.ReconnectWait(20*time.Millisecond))...))
	go func() {
		defer close(a.stopped)
		for n := 0; ctx.Err() == nil; n++ {
			host := fmt.Sprint("acked", n)
			m := bearer(host)
			for ctx.Err() == nil {
				once, cancel := context.WithTimeout(ctx, time.Second)
				_, err := js.PublishMsg(once, m)
				cancel()
				if err == nil {
					a.hosts = append(a.hosts, host)
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	t.Cleanup(func() { a.end() })
	return a
}

// end returns the hosts whose samples were acknowledged.
func (a *acked) end() []string {
	a.stop()
	<-a.stopped
	return a.hosts
}

// killFor calls kill a number of times, or for the duration in longVariable.
func killFor(t testing.TB, times int, kill func()) {
	t.Helper()
	long, err := time.ParseDuration(os.Getenv(longVariable))
	if err != nil {
		for range times {
			kill()
		}
		return
	}
	for end := time.Now().Add(long); time.Now().Before(end); {
		kill()
	}
}

func mustHaveAll(t testing.TB, h *harness, hosts []string) {
	t.Helper()
	if len(hosts) < 50 {
		t.Errorf("only %d acknowledged, too few for this test", len(hosts))
	}
	eventually(t, "all that was acknowledged is stored", func() bool {
		for _, host := range hosts {
			if !h.stored(host) {
				return false
			}
		}
		return true
	})
	t.Logf("%d acknowledged, all stored", len(hosts))
}

func TestAServerThatIsKilledLosesNothing(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	h.options.AckWait = 2 * time.Second // until what was on its way comes again
	p := newProcess(t, "")
	h.subscribe(p.url)
	eventually(t, "the stream is there", func() bool { return strings.Contains(h.log.String(), "NATS stream opened") })
	a := publishAcked(t, p.url)
	killFor(t, 3, func() {
		before := len(h.hosts())
		eventually(t, "some come", func() bool { return len(h.hosts()) > before+20 })
		p.kill()
		p.start()
	})
	mustHaveAll(t, h, a.end())
}

func TestAClusterLosesNothingWhenItsNodesAreKilled(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	h.options.AckWait = 2 * time.Second // until what was on its way comes again
	var ports, routes []int
	for range 3 {
		ports, routes = append(ports, freePort(t)), append(routes, freePort(t))
	}
	var nodes []*process
	var urls []string
	for i := range ports {
		nodes = append(nodes, newProcessAt(t, ports[i], fmt.Sprintf(
			"server_name: n%d\ncluster {name: test, listen: 127.0.0.1:%d, routes: [nats://127.0.0.1:%d, nats://127.0.0.1:%d, nats://127.0.0.1:%d]}",
			i, routes[i], routes[0], routes[1], routes[2])))
		urls = append(urls, nodes[i].url)
	}
	h.options.Registerer = nil // as it is subscribed twice
	subscriber := h.subscribe(strings.Join(urls, ","))
	c := connect(t, strings.Join(urls, ","), natsgo.MaxReconnects(-1))
	var stream jetstream.Stream
	eventually(t, "the stream is there", func() (ok bool) {
		s, err := newJetStream(t, c).Stream(context.WithoutCancel(t.Context()), streamName)
		stream = s
		return err == nil
	})
	if n := stream.CachedInfo().Config.Replicas; n != 3 {
		t.Errorf("%d replicas", n)
	}
	testBacklog(t, h, subscriber, c, stream)
	a := publishAcked(t, strings.Join(urls, ","))
	killFor(t, 1, func() {
		before := len(h.hosts())
		eventually(t, "some come", func() bool { return len(h.hosts()) > before+20 })
		leader := leaderOf(t, stream)
		nodes[leader].kill()
		eventually(t, "some come from the others", func() bool { return len(h.hosts()) > before+60 })
		nodes[leader].start()
	})
	mustHaveAll(t, h, a.end())
}

// testBacklog queues more messages than one fetch takes. All are stored, and few are delivered
// again.
func testBacklog(t *testing.T, h *harness, s *Subscriber, c *natsgo.Conn, stream jetstream.Stream) {
	t.Helper()
	const backlog = 5 * fetchMessages
	h.close(s)
	js := newJetStream(t, c)
	for _, m := range bearers(hostNames(backlog)) {
		if _, err := js.PublishMsgAsync(m); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	h.subscribe(h.options.Address)
	eventually(t, "what waited is stored", func() bool { return len(h.hosts()) == backlog })
	consumer, err := stream.Consumer(t.Context(), h.options.Subjects[0].Durable)
	if err != nil {
		t.Fatal(err)
	}
	if n := consumer.CachedInfo().Delivered.Consumer; n > 2*backlog {
		t.Errorf("%d messages were delivered %d times", backlog, n)
	}
}

// leaderOf returns the number of the stream's leader.
func leaderOf(t testing.TB, s jetstream.Stream) (leader int) {
	t.Helper()
	eventually(t, "the stream has a leader", func() bool {
		info, err := s.Info(context.WithoutCancel(t.Context()))
		if err != nil || info.Cluster == nil {
			return false
		}
		_, err = fmt.Sscanf(info.Cluster.Leader, "n%d", &leader)
		return err == nil
	})
	return leader
}

// A server accepts the configuration in docs/nats.md, and its callout works with ours.
func TestDocumentedServerConfiguration(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/nats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, config, _ := strings.Cut(string(text), "\n```\nmax_control_line")
	config, _, ok := strings.Cut("max_control_line"+config, "\n```\n")
	if !ok {
		t.Fatal("no server configuration")
	}
	for _, change := range [][2]string{
		{`"$2a$11$..."`, fmt.Sprintf("%q", calloutPassword)},
		{"ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA", publicOf(accountSeed)},
		{"XAB3NANV3M6N7AHSQP2U5FRWKKUT7EG2ZXXABV4XVXYQRJGM4S2CZGHT", publicOf(xkeySeed)},
	} {
		if !strings.Contains(config, change[0]) {
			t.Fatalf("the configuration lacks %s", change[0])
		}
		config = strings.Replace(config, change[0], change[1], 1)
	}
	h := newHarness(t).connecting()
	h.options.Embedded = nil
	h.options.Callout = &Callout{AccountSeed: accountSeed, XKeySeed: xkeySeed, Account: "$G"}
	h.options.Username, h.options.Password = calloutUser, calloutPassword
	url := newProcess(t, config).url
	s := h.subscribe(url)
	eventually(t, "it answers the server", s.Connected)
	if _, err := h.tryConnect(url, "h1", token("api")); err != nil {
		t.Error(err)
	}
	if code, _ := h.tryConnect(url, "h2", token("user")); code != "insufficient_role" {
		t.Errorf("a user: %q", code)
	}
}
