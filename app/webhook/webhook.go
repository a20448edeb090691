package webhook

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/kernel/outward"
)

// Options are the package's settings. The zero value is the strict one.
type Options struct {
	// PrivateAddresses lets endpoints be at addresses that are not public, and at http:// ones: for development, and for
	// receivers in one's own network. Whoever may register endpoints can then have this server ask whatever it can reach.
	PrivateAddresses bool
	// Topics are those of the application's own events, which an endpoint can name beside Topics().
	Topics []string
	// Retention is how long a delivery stays in the log; zero: for good.
	Retention time.Duration
	// RootCAs are who vouches for receivers; nil: whom the system trusts.
	RootCAs *x509.CertPool
}

// DefaultOverlap is how long the secret of before goes on signing after a rotation.
const DefaultOverlap = 24 * time.Hour

// consumer is the name under which the outbox knows all endpoints. It never changes.
const consumer = "webhook"

// Service keeps endpoints and sends them events. It is safe for concurrent use.
type Service struct {
	store   store
	db      *database.DB
	vault   *Vault
	outbox  *outbox.Outbox
	audit   *audit.Trail
	log     *slog.Logger
	options Options
	topics  []string
	client  *http.Client
}

// New returns the service. The database must have been migrated with Migrations and those of the outbox, which must have the
// Consumer registered.
func New(p Params) (*Service, error) {
	if p.DB == nil || p.Keys == nil || p.Outbox == nil {
		return nil, errors.New("webhook: New needs a database, a keyring and an outbox")
	}
	s := &Service{
		store: store{p.DB}, db: p.DB, vault: NewVault(p.DB, p.Keys), outbox: p.Outbox, audit: p.Audit,
		log: cmp.Or(p.Log, slog.Default()).With("module", "webhook"), options: p.Options,
		topics: slices.Concat(Topics(), p.Options.Topics),
	}
	s.client = outward.NewClient(s.outward())
	return s, nil
}

func (s *Service) outward() outward.Options {
	return outward.Options{PrivateAddresses: s.options.PrivateAddresses, RootCAs: s.options.RootCAs}
}

// Consumer is who sends events to endpoints, for Outbox.Register.
func (s *Service) Consumer() outbox.Consumer { return outbox.ToTargets(consumer, s.publish) }

// Run has the secrets encrypted anew whenever the master secrets change, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	ticker := time.NewTicker(keyring.Rhythm)
	defer ticker.Stop()
	var done []string // the names for which it was done
	var retry time.Time
	for {
		if names := s.vault.names(); !slices.Equal(names, done) && time.Now().After(retry) {
			kept, err := s.vault.Reseal(ctx)
			switch {
			case err == nil:
				done = names
				s.warnOfLost(kept)
			case ctx.Err() == nil:
				retry = time.Now().Add(resealEvery)
				s.log.Error("the secrets of webhooks are not encrypted under the master secrets of now; it will be tried again", "in", resealEvery, "error", err)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// resealEvery is how long to wait after a failure.
const resealEvery = 20 * time.Second

func (s *Service) warnOfLost(kept Kept) {
	if len(kept.Lost) > 0 {
		s.log.Error("webhooks have secrets that no master secret here opens, and are sent nothing: put the missing master secret back into secrets, or rotate the secrets of these webhooks",
			"webhooks", kept.Lost)
	}
}
