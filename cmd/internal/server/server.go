// Package server runs a RingStore: it starts its parts in the right order, reloads what may change,
// reports to the service manager, exports metrics, and stops everything again.
package server

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	promclient "github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/nats"
	"github.com/ringstore/ringstore/api/prometheus"
	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/archive"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/jobs/ccbackend"
	"github.com/ringstore/ringstore/auth/keyring"
	"github.com/ringstore/ringstore/auth/source"
	"github.com/ringstore/ringstore/auth/ticker"
	"github.com/ringstore/ringstore/cmd/internal/pacing"
	"github.com/ringstore/ringstore/cmd/internal/setup"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/memstore"
)

// auditFlushInterval is the time between two summaries of audit lines that were suppressed.
const auditFlushInterval = time.Second

// errRestoring is the answer to clients until the store is restored.
var errRestoring = errors.New("restoring what was stored before the last stop")

// Options say what to run. All but the last two are required.
type Options struct {
	Config  *configs.Config
	Log     *slog.Logger
	Audit   io.Writer // gets the audit log if the configuration names no file
	Version string    // of the program, for metrics and the status

	SwaggerUI bool          // serve a user interface of the HTTP API
	DrainTime time.Duration // for requests and messages in flight when a stop begins; 0: 20 s
}

// Server is a running RingStore.
type Server struct {
	cfg           *configs.Config
	log           *slog.Logger
	version       string
	swaggerUI     bool
	drainTime     time.Duration
	registry      *promclient.Registry
	journalTimes  journalTimes
	authenticator nats.Authenticator // the keyring; nil without authentication
	keyring       *keyring.Keyring   // nil without authentication
	certificate   *source.Watcher    // nil if no certificate is followed

	store    *memstore.Store
	nodes    *ccbackend.Nodes // nil if no cc-backend is asked where jobs run
	jobs     *jobSources      // nil without job sources
	main     *httpServer
	admin    *httpServer   // nil if the administrators' paths are on the main one
	metrics  *httpServer   // nil if metrics are only on the main one
	handler  *rest.Handler // of the first two; set before they serve
	audit    *auth.Audit
	auditLog io.Closer // nil if the audit log is not a file
	archive  *archive.Archive
	ingester *ingest.Ingester
	nats     *nats.Subscriber // nil without NATS

	ready   atomic.Bool
	ended   chan error // gets the error of an HTTP server that ends by itself
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Start starts a server and returns once it is ready; after an error nothing is left running. The
// order matters: the port is opened and privileges are dropped before any file is created; the port
// answers while the store is being restored; NATS comes last.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cfg, log := o.Config, o.Log
	s := &Server{
		cfg: cfg, log: log, version: o.Version, swaggerUI: o.SwaggerUI, drainTime: cmp.Or(o.DrainTime, defaultDrainTime),
		registry: promclient.NewRegistry(), journalTimes: newJournalTimes(),
		ended: make(chan error, 2), cancel: cancel,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	logWarnings(cfg, log)
	limitMemory(cfg, log)
	if s.nodes, err = setup.Nodes(ctx, cfg, log); err != nil {
		return nil, err
	}
	if s.jobs, err = newJobSources(ctx, cfg, log); err != nil {
		return nil, err
	}
	if s.store, err = setup.Store(cfg, s.nodes); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	if err := dropPrivileges(cfg.Main.User, cfg.Main.Group); err != nil {
		return nil, err
	}
	warnOfRoot(log)
	setup.WarnOfReadable(cfg, log)
	if err := s.openKeys(ctx); err != nil {
		return nil, err
	}
	if err := s.jobs.followProjects(ctx, cfg.Auth.Jobs.ProjectsFile); err != nil {
		return nil, err
	}
	if err := s.openFiles(o.Audit); err != nil {
		return nil, err
	}
	if err := s.jobs.load(); err != nil {
		return nil, err
	}
	if err := s.serve(background); err != nil {
		return nil, err
	}
	s.supervise(ctx, background)
	s.pace(background)
	s.jobs.start(background, func(f func()) { s.running.Go(f) })
	if s.nodes != nil {
		s.running.Go(func() { s.nodes.Run(background) })
	}
	if err := s.restore(ctx); err != nil {
		return nil, err
	}
	s.running.Go(func() { s.archive.Run(background) })
	s.running.Go(func() { s.ingester.Run(background) })
	if s.archive.ReadOnly() == nil {
		err = s.subscribe(ctx)
	}
	if err != nil {
		return nil, err
	}
	s.ready.Store(true)
	serviceManager{log}.ready()
	log.Info("ready", "version", s.version, "addr", s.main.addr())
	return s, nil
}

// Addr returns the address of the HTTP server.
func (s *Server) Addr() string { return s.main.addr() }

// NATSAddr returns the address of the embedded NATS server. There must be one.
func (s *Server) NATSAddr() string { return s.nats.Addr().String() }

func logWarnings(cfg *configs.Config, log *slog.Logger) {
	for _, w := range cfg.Warnings {
		log.Warn("configuration", "problem", w.String())
	}
}

func limitMemory(cfg *configs.Config, log *slog.Logger) {
	limit, reason := configs.MemoryCap(cfg.MetricStore.MemoryCap)
	pacing.LimitMemory(limit)
	log.Info("memory cap", "bytes", limit, "of_these_for_samples", configs.DataMemory(limit), "reason", reason)
}

// pace adapts the runtime to the store and to floods of bad tokens.
func (s *Server) pace(ctx context.Context) {
	s.running.Go(func() { pacing.Garbage(ctx) })
	if threads, ok := pacing.FloodThreads(); ok && s.keyring != nil {
		s.running.Go(func() { pacing.Threads(ctx, func() uint64 { return rejected(s.keyring.Chain()) }, threads) })
	}
}

// rejected returns how many tokens were verified and not accepted.
func rejected(chain *auth.Chain) (n uint64) {
	chain.Verifications(func(_ string, code auth.Reason, count uint64) {
		if code != auth.Accepted {
			n += count
		}
	})
	return n
}

// openKeys opens the keyring, unless authentication is disabled, and follows the certificate. It
// runs after privileges are dropped, so that files which cannot be read again later are found at
// the start.
func (s *Server) openKeys(ctx context.Context) (err error) {
	if !s.cfg.Auth.Disabled {
		if s.keyring, err = setup.OpenKeyring(ctx, s.cfg, s.log, s.log); err != nil {
			return err
		}
		s.authenticator = s.keyring
	}
	if s.main.IsHTTPS() {
		if err := s.followCertificate(ctx, s.cfg); err != nil {
			s.log.Warn("cannot follow the HTTPS certificate; a new one requires a restart", "error", err)
		}
	}
	return nil
}

// openFiles opens the audit log and the archive.
func (s *Server) openFiles(audit io.Writer) (err error) {
	if err := s.openAudit(audit); err != nil {
		return err
	}
	s.archive, err = setup.Archive(s.cfg, s.store, s.journalTimes, s.log)
	return err
}

// serve starts the HTTP server, which answers 503 until the store is restored.
func (s *Server) serve(background context.Context) error {
	if err := s.registerMetrics(); err != nil {
		return err
	}
	memory, _ := configs.MemoryCap(s.cfg.MetricStore.MemoryCap)
	s.ingester = ingest.New(ingest.Options{
		CacheBytes: memory / 16,
		Store:      s.store,
		Writer:     s.archive,
		ExtraTags:  setup.ExtraTags(s.cfg),
		Aliases:    setup.Aliases(s.cfg),
		Registerer: s.registry,
		Log:        s.log,
	})
	limits := rest.Limits{
		BodyBytes:         s.cfg.Limits.BodyBytes,
		QueriesPerUser:    s.cfg.Limits.QueriesPerUser,
		QueriesPerService: s.cfg.Limits.QueriesPerService,
	}
	if n := s.cfg.Limits.ValuesPerQuery; n != nil {
		limits.ValuesPerQuery = int(*n)
	}
	promql, err := prometheus.New(prometheus.Options{
		Metrics: setup.MetricsForPeople(s.cfg), MaxSamples: s.maxSamples(), Version: s.version, Log: s.log,
		WriteCluster: s.cfg.Prometheus.Cluster, WriteDevices: setup.DeviceLabels(s.cfg),
	})
	if err != nil {
		return err
	}
	page, err := setup.Explorer(s.cfg)
	if err != nil {
		return err
	}
	s.handler, err = rest.New(rest.Options{
		Store:         s.store,
		Freer:         s.archive,
		Ingester:      s.ingester,
		Authenticator: s.authenticator,
		Policy:        setup.Policy(s.cfg),
		Audit:         s.audit,
		AuthDisabled:  s.cfg.Auth.Disabled,
		Jobs:          s.jobs.index(),
		Notes:         s.notes,

		SharedNodeMetrics: s.cfg.Auth.Jobs.SharedNodeMetrics,
		Ready: func() error {
			if !s.ready.Load() {
				return errRestoring
			}
			return nil
		},
		Writable: s.archive.Unavailable,
		Operator: newOperator(s),

		Prometheus: promql,

		SeparateAdmin: s.admin != nil,

		Explorer:  page,
		SwaggerUI: s.swaggerUI,
		Limits:    limits,
		Gzip:      s.cfg.Main.Gzip,
		SlowQuery: s.cfg.Main.SlowQuery,
		Registry:  s.registry,
		Log:       s.log,
	})
	if err != nil {
		return err
	}
	s.running.Go(func() { s.flushAudit(background) })
	s.serveHTTP()
	return nil
}

// maxSamples returns how many samples one query in PromQL may hold in memory: those of an eighth of
// the memory cap, within bounds.
func (s *Server) maxSamples() int {
	const bytesPerSample, smallest, largest = 16, 1_000_000, 50_000_000
	limit, _ := configs.MemoryCap(s.cfg.MetricStore.MemoryCap)
	return int(min(max(limit/8/bytesPerSample, smallest), largest))
}

// notes returns one sentence for each source of samples or jobs that is silent, and for files that
// cannot be read. The server is ready.
func (s *Server) notes() []string {
	notes := append(s.jobs.notes(), s.archive.Notes()...)
	if s.nats != nil && !s.nats.Connected() {
		notes = append(notes, "nats: the server is not connected: no samples or events arrive from it")
	}
	return notes
}

func (s *Server) flushAudit(ctx context.Context) {
	for range ticker.Every(ctx, auditFlushInterval) {
		if err := s.audit.Flush(); err != nil {
			s.log.Error("audit log", "error", err)
		}
	}
}

// subscribe opens NATS, if the configuration has any subjects.
func (s *Server) subscribe(ctx context.Context) error {
	o, err := setup.NATS(ctx, s.cfg, s.jobs.configured())
	if err != nil || len(o.Subjects) == 0 {
		return err
	}
	o.Ingester, o.SyncPoint, o.Settle = s.ingester, s.archive.SyncPoint, s.store.Settle
	o.Authenticator, o.Policy, o.Audit = s.authenticator, setup.Policy(s.cfg), s.audit
	o.Log, o.Registerer = s.log, s.registry
	s.nats, err = nats.Subscribe(o)
	return err
}
