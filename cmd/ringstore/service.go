package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/nats"
	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/archive"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/jobs/ccbackend"
	"github.com/ringstore/ringstore/auth/source"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/memstore"
)

// drainTime bounds how long requests and messages in flight may take once the
// service is told to stop.
const drainTime = 20 * time.Second

// stopTime bounds all of a stop, and is less than the unit's TimeoutStopSec.
const stopTime = 100 * time.Second

// auditEvery is how often audit lines that were held back are summed up.
const auditEvery = time.Second

// errRestoring is what clients are told until the store is there.
var errRestoring = errors.New("restoring what was stored before the last stop")

// service is a running RingStore. It is opened all or nothing by start, and
// closed by stop.
type service struct {
	cfg           *configs.Config
	log           *slog.Logger
	registry      *prometheus.Registry
	times         journalTimes
	authenticator nats.Authenticator // the trust, nil without one
	trust         *trust             // nil if authentication is disabled
	certificate   *source.Watcher    // nil if it is not followed

	store    *memstore.Store
	nodes    *ccbackend.Nodes // nil if nobody is asked where jobs run
	jobs     *jobSources      // nil if nobody knows whose they are
	listener net.Listener
	server   *rest.Server
	handler  http.Handler // the server's, set before it serves
	metrics  *metricsDoor // nil if they are shown by the server only
	audit    *auth.Audit
	auditTo  io.Closer // nil if that is stderr
	archive  *archive.Archive
	ingester *ingest.Ingester
	nats     *nats.Subscriber // nil without a NATS server

	dev     bool          // serve what is for developers
	drain   time.Duration // drainTime
	ready   atomic.Bool
	ended   chan error // the HTTP server's end, if it ends by itself
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// start opens the service and returns once it is ready. Its order is what makes
// it safe: the port is taken and privileges are dropped before a file is made;
// the port answers while the store is restored; NATS comes last. change may set
// what is not in the configuration.
func start(ctx context.Context, cfg *configs.Config, log *slog.Logger, stderr io.Writer, change ...func(*service)) (_ *service, err error) {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &service{
		cfg: cfg, log: log, registry: prometheus.NewRegistry(), times: newJournalTimes(),
		drain: drainTime, ended: make(chan error, 1), cancel: cancel,
	}
	for _, f := range change {
		f(s)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	for _, w := range cfg.Warnings {
		log.Warn("configuration", "problem", w.String())
	}
	limitMemory(cfg, log)
	if s.nodes, err = newNodes(ctx, cfg, log); err != nil {
		return nil, err
	}
	if s.jobs, err = newJobs(ctx, cfg, log); err != nil {
		return nil, err
	}
	if s.store, err = newStore(cfg, s.nodes); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	if err := dropPrivileges(cfg.Main.User, cfg.Main.Group); err != nil {
		return nil, err
	}
	if err := s.openTrust(ctx); err != nil {
		return nil, err
	}
	if err := s.openFiles(stderr); err != nil {
		return nil, err
	}
	if err := s.jobs.load(); err != nil {
		return nil, err
	}
	if err := s.serve(background); err != nil {
		return nil, err
	}
	s.supervise(ctx, background)
	s.running.Go(func() { paceGarbage(background) })
	if threads, ok := spareThreads(); ok && s.trust != nil {
		s.running.Go(func() { withstandFloods(background, s.trust.chain, threads) })
	}
	s.jobs.start(background, func(f func()) { s.running.Go(f) })
	if s.nodes != nil {
		s.running.Go(func() { s.nodes.Run(background) })
	}
	if err := s.restore(ctx); err != nil {
		return nil, err
	}
	s.running.Go(func() { s.archive.Run(background) })
	if err := s.subscribe(ctx); err != nil {
		return nil, err
	}
	s.ready.Store(true)
	supervisor{log}.ready()
	log.Info("ready", "version", version(), "addr", s.listener.Addr().String())
	return s, nil
}

// openTrust reads whose tokens are good, unless authentication is disabled, and
// follows the certificate. The files are read as whoever the service is by now,
// since that is who will read them again.
func (s *service) openTrust(ctx context.Context) (err error) {
	if !s.cfg.Auth.Disabled {
		if s.trust, err = openTrust(ctx, s.cfg, s.log); err != nil {
			return err
		}
		s.authenticator = s.trust
	}
	if s.server.IsHTTPS() {
		if err := s.followCertificate(ctx, s.cfg); err != nil {
			s.log.Warn("a new HTTPS certificate will take a restart: it cannot be read any more", "error", err)
		}
	}
	return nil
}

// newNodes returns what knows where jobs run, nil if the configuration names
// nobody who does.
func newNodes(ctx context.Context, cfg *configs.Config, log *slog.Logger) (*ccbackend.Nodes, error) {
	jobs := cfg.Auth.Jobs.Backend
	if cfg.Main.BackendURL == "" || jobs.Token == "" {
		return nil, nil
	}
	client, err := newBackendClient(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return ccbackend.NewNodes(ccbackend.NodesOptions{
		Client:    client,
		Retention: cfg.MetricStore.RetentionInMemory,
		Interval:  jobs.PollInterval,
		Log:       log,
	}), nil
}

// newStore returns an empty store. nodes may be nil.
func newStore(cfg *configs.Config, nodes *ccbackend.Nodes) (*memstore.Store, error) {
	o := storeOptions(cfg)
	if nodes != nil {
		o.Needed = nodes.Needed
	}
	o.KeepUnstored = cfg.MetricStore.Cleanup.Mode == configs.CleanupArchive
	return memstore.New(o)
}

// storeOptions are those that the configuration gives.
func storeOptions(cfg *configs.Config) memstore.Options {
	aggregations := map[configs.Aggregation]memstore.Aggregation{
		configs.NoAggregation:  memstore.AggregateNone,
		configs.SumAggregation: memstore.AggregateSum,
		configs.AvgAggregation: memstore.AggregateAvg,
	}
	limit, _ := configs.MemoryCap(cfg.MetricStore.MemoryCap)
	o := memstore.Options{
		Retention:   cfg.MetricStore.RetentionInMemory,
		MemoryLimit: configs.DataMemory(limit),
		Limits: memstore.Limits{
			Hosts:          cfg.Limits.Hosts,
			DevicesPerHost: cfg.Limits.DevicesPerHost,
			NameBytes:      cfg.Limits.NameBytes,
		},
	}
	for name, m := range cfg.Metrics {
		o.Metrics = append(o.Metrics, memstore.Metric{
			Name:        name,
			Frequency:   time.Duration(m.Frequency) * time.Second,
			Aggregation: aggregations[m.Aggregation],
			Precision:   cfg.Precision(name),
		})
	}
	return o
}

// listen takes the port and reads the certificate, both of which may need the
// privileges that are dropped next.
func (s *service) listen() (err error) {
	late := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) })
	s.server, err = rest.NewServer(late, rest.ServerOptions{
		Certificate: httpsFiles(s.cfg),
		Log:         s.log,
	})
	if err != nil {
		return err
	}
	if s.listener, err = net.Listen("tcp", s.cfg.Main.Addr); err != nil {
		return fmt.Errorf("main.addr: %w", err)
	}
	if addr := s.cfg.Main.MetricsAddr; addr != "" {
		s.metrics, err = openMetricsDoor(addr, rest.ServerOptions{Log: s.log}, s.registry)
	}
	return err
}

// openFiles opens the audit log and takes the directory of the archive.
func (s *service) openFiles(stderr io.Writer) (err error) {
	to := stderr
	if path := s.cfg.Auth.AuditLog; path != "" {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if err != nil {
			return fmt.Errorf("auth.audit-log: %w", err)
		}
		to, s.auditTo = f, f
	}
	s.audit = auth.NewAudit(to, nil)
	s.archive, err = openArchive(s.cfg, s.store, s.times, s.log)
	return err
}

// serve opens the HTTP door, which answers 503 until the service is ready.
func (s *service) serve(background context.Context) error {
	if err := s.observe(); err != nil {
		return err
	}
	s.ingester = ingest.New(ingest.Options{
		Store:      s.store,
		Writer:     s.archive,
		ExtraTags:  extraTags(s.cfg),
		Aliases:    aliases(s.cfg),
		Registerer: s.registry,
	})
	handler, err := rest.New(rest.Options{
		Store:         s.store,
		Freer:         s.archive,
		Ingester:      s.ingester,
		Authenticator: s.authenticator,
		Policy:        policy(s.cfg),
		Audit:         s.audit,
		AuthDisabled:  s.cfg.Auth.Disabled,
		Jobs:          s.jobs.known(),
		Notes:         s.jobs.notes,

		SharedNodeMetrics: s.cfg.Auth.Jobs.SharedNodeMetrics,
		Ready: func() error {
			if !s.ready.Load() {
				return errRestoring
			}
			return nil
		},
		Writable:  s.archive.Unavailable,
		Operator:  newOperator(s),
		SwaggerUI: s.dev,
		Limits: rest.Limits{
			BodyBytes:      s.cfg.Limits.BodyBytes,
			ValuesPerQuery: int(s.cfg.Limits.ValuesPerQuery),
		},
		Gzip:      s.cfg.Main.Gzip,
		SlowQuery: s.cfg.Main.SlowQuery,
		Registry:  s.registry,
		Log:       s.log,
	})
	if err != nil {
		return err
	}
	s.handler = handler
	s.running.Go(func() { s.ended <- s.server.Serve(s.listener) })
	s.running.Go(func() { s.flushAudit(background) })
	s.log.Info("listening", "addr", s.listener.Addr().String())
	if s.metrics != nil {
		s.running.Go(s.serveMetrics)
		s.log.Info("metrics are shown without a token", "addr", s.metrics.listener.Addr().String())
	}
	return nil
}

// serveMetrics goes on without them if their listener fails.
func (s *service) serveMetrics() {
	if err := s.metrics.serve(); err != nil {
		s.log.Error("metrics are no longer shown without a token", "error", err)
	}
}

// extraTags are the tags of each metric that tell series apart.
func extraTags(cfg *configs.Config) map[string][]string {
	tags := make(map[string][]string, len(cfg.Metrics))
	for name, m := range cfg.Metrics {
		tags[name] = m.ExtraTags
	}
	return tags
}

// aliases are what the other names of metrics stand for.
func aliases(cfg *configs.Config) map[string]string {
	of := make(map[string]string)
	for name, m := range cfg.Metrics {
		for _, alias := range m.Aliases {
			of[alias] = name
		}
	}
	return of
}

func (s *service) flushAudit(ctx context.Context) {
	for range ticks(ctx, auditEvery) {
		if err := s.audit.Flush(); err != nil {
			s.log.Error("audit log", "error", err)
		}
	}
}

// wait returns when ctx ends, or with an error when the HTTP server does. For
// each hup it reads the configuration file anew.
func (s *service) wait(ctx context.Context, hup <-chan os.Signal, file string) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.ended:
			return fmt.Errorf("the HTTP server ended: %w", err)
		case <-hup:
			s.reload(ctx, file)
		}
	}
}

// stop closes the doors, lets what is in flight finish, and writes the last
// checkpoint. What start had not opened it passes over.
func (s *service) stop() error {
	supervisor{s.log}.tell(daemon.SdNotifyStopping)
	ctx, cancel := context.WithTimeout(context.Background(), s.drain)
	defer cancel()
	var shut [3]error // the doors
	var doors sync.WaitGroup
	if s.nats != nil {
		doors.Go(func() { shut[0] = s.drained("nats", s.nats.Close(ctx)) })
	}
	if s.server != nil {
		doors.Go(func() { shut[1] = s.drained("http", s.server.Shutdown(ctx)) })
	}
	if s.metrics != nil {
		doors.Go(func() { shut[2] = s.drained("metrics", s.metrics.close(ctx)) })
	}
	doors.Wait()
	s.cancel()
	s.running.Wait()
	errs := shut[:]
	if s.trust != nil {
		errs = append(errs, s.trust.close())
	}
	if s.certificate != nil {
		errs = append(errs, s.certificate.Close())
	}
	if s.archive != nil {
		errs = append(errs, s.archive.Close())
	}
	if s.audit != nil {
		errs = append(errs, s.audit.Close())
	}
	if s.auditTo != nil {
		errs = append(errs, s.auditTo.Close())
	}
	if s.listener != nil && s.handler == nil {
		_ = s.listener.Close() // never handed to the server
	}
	return errors.Join(errs...)
}

// stopWithin is stop for at most a time: a disk that hangs must not keep the
// process. It ends next, so whoever still waits for that disk is left alone.
func stopWithin(most time.Duration, stop func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(most):
		return fmt.Errorf("the stop takes longer than %v and is broken off; what was acknowledged is in the journal", most)
	}
}

// drained makes a warning of what was still in flight when the time was over:
// it was not acknowledged, and a client that stalls must not fail the stop.
func (s *service) drained(transport string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("broke off what was still in flight", "transport", transport, "after", s.drain)
		return nil
	}
	return err
}
