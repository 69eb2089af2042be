package server

import (
	"fmt"
	"io"
	"os"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/cmd/internal/logging"
)

// openAudit opens the audit log: the configured file, or fallback without one.
func (s *Server) openAudit(fallback io.Writer) error {
	if s.cfg.Auth.AuditLog == "" {
		s.audit = auth.NewAudit(logging.Redacted(fallback), nil)
		return nil
	}
	f, err := openAuditFile(s.cfg.Auth.AuditLog)
	if err != nil {
		return err
	}
	s.audit, s.auditLog = auth.NewAudit(logging.Redacted(f), nil), f
	return nil
}

// reopenAudit opens the configured file again, because a program that rotates logs has renamed it.
// If that fails, the file that is open stays in use.
func (s *Server) reopenAudit() {
	if s.auditLog == nil {
		return
	}
	f, err := openAuditFile(s.cfg.Auth.AuditLog)
	if err != nil {
		s.log.Error("the audit log was not reopened; the open file stays in use", "error", err)
		return
	}
	before := s.auditLog
	s.audit.SetWriter(logging.Redacted(f))
	s.auditLog = f
	if err := before.Close(); err != nil {
		s.log.Error("audit log", "error", err)
	}
}

func openAuditFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("auth.audit-log: %w", err)
	}
	return f, nil
}
