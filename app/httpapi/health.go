package httpapi

import (
	"context"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// Program says what only the program knows of itself. It is asked anew for every answer, and is safe for concurrent use.
type Program func(ctx context.Context) (About, error)

// About is what a program says of itself to who may read it. None of it is a secret.
type About struct {
	Version   string    // such as v1.2.0; empty: not known
	Revision  string    // of the source that it was built from; empty: not known
	Go        string    // the version of Go that built it
	StartedAt time.Time // this process

	Migrations []database.MigrationState // that this program has, those that are pending, too
	Mail       MailAbout
}

// MailAbout is how a program sends mails.
type MailAbout struct {
	Driver   string // such as smtp; empty: nobody is sent any
	Consumer string // of the outbox, to which mails wait; empty: none
}

// How something stands.
const (
	statusOK      = "ok"
	statusWarning = "warning" // it works, and somebody should look
	statusFailing = "failing" // something does not work
)

// lateTime is how long an event may wait before that is worth a look. One is handled within moments, or tried again within
// minutes.
const lateTime = 5 * time.Minute

// check is how one part stands, and why it is not as it should be.
type healthCheck struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

type healthDetailsAnswer struct {
	Health healthDetails `json:"health"`
}

type healthDetails struct {
	Status     string             `json:"status"` // the worst of all
	Checks     []healthCheck      `json:"checks"`
	Program    programDetails     `json:"program"`
	Database   databaseDetails    `json:"database"`
	Migrations []migrationDetails `json:"migrations"`
	Mail       *mailDetails       `json:"mail"`
	Providers  []providerDetails  `json:"providers"`
	Webhooks   *webhookDetails    `json:"webhooks"` // null: there are none here
	Events     *eventDetails      `json:"events"`   // null: none are kept here
}

type programDetails struct {
	Version   any    `json:"version"`
	Revision  any    `json:"revision"`
	Go        string `json:"go"`
	StartedAt any    `json:"started_at"`
}

type databaseDetails struct {
	Kind           database.Dialect `json:"kind"`
	Version        string           `json:"version"`
	MaxConnections int              `json:"max_connections"` // that write; 0: any number
	MissingIndexes []string         `json:"missing_indexes"` // statements that make them
}

type migrationDetails struct {
	Module    string   `json:"module"`
	Applied   int      `json:"applied"`
	Newest    any      `json:"newest"` // that was applied
	AppliedAt any      `json:"applied_at"`
	Pending   []string `json:"pending"`
}

type mailDetails struct {
	Driver any `json:"driver"`
	eventDetails
}

type providerDetails struct {
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	Flow        string `json:"flow"`
	Available   bool   `json:"available"`
}

type webhookDetails struct {
	Enabled  int `json:"enabled"`
	Disabled int `json:"disabled"`
	Gone     int `json:"gone"` // of those that are disabled: because they said so
}

// eventDetails is how the outbox stands.
type eventDetails struct {
	Waiting  int `json:"waiting"`
	Dead     int `json:"dead"`
	OldestAt any `json:"oldest_at"` // that waits

	late bool
}

var errNoHealth = fault.New(fault.NotFound, "no_health", "This program says nothing of itself here.")

// describeHealth says in detail how the server is, to who may know.
func (a *API) describeHealth(c *call) (healthDetailsAnswer, error) {
	if a.program == nil {
		return healthDetailsAnswer{}, errNoHealth
	}
	if _, err := readQuery(c); err != nil {
		return healthDetailsAnswer{}, err
	}
	ctx := c.Context()
	about, err := a.program(ctx)
	if err != nil {
		return healthDetailsAnswer{}, err
	}
	h := healthDetails{
		Program:    programDetails{text(about.Version), text(about.Revision), about.Go, stamp(about.StartedAt)},
		Migrations: migrationsOf(about.Migrations),
		Providers:  []providerDetails{},
	}
	if h.Database, err = a.describeDatabase(ctx); err != nil {
		return healthDetailsAnswer{}, err
	}
	for _, i := range a.auth.ListAuthProviders() {
		h.Providers = append(h.Providers, providerDetails{i.ID, i.DisplayName, i.Flow, !i.Unavailable})
	}
	if h.Webhooks, err = a.describeWebhooks(ctx); err != nil {
		return healthDetailsAnswer{}, err
	}
	h.Mail = &mailDetails{Driver: text(about.Mail.Driver)}
	if a.outbox != nil {
		consumers, err := a.outbox.Consumers(ctx)
		if err != nil {
			return healthDetailsAnswer{}, err
		}
		now := time.Now()
		all := waitingOf(consumers, "", now)
		h.Events = &all
		if about.Mail.Consumer != "" {
			h.Mail.eventDetails = waitingOf(consumers, about.Mail.Consumer, now)
		}
	}
	h.judge()
	return healthDetailsAnswer{h}, nil
}

func (a *API) describeDatabase(ctx context.Context) (d databaseDetails, err error) {
	d = databaseDetails{Kind: a.db.Dialect(), MaxConnections: a.db.MaxConns(), MissingIndexes: []string{}}
	if d.Version, err = a.db.Version(ctx); err != nil {
		return d, err
	}
	missing, err := a.users.MissingIndexes(ctx)
	d.MissingIndexes = append(d.MissingIndexes, missing...)
	return d, err
}

func migrationsOf(states []database.MigrationState) []migrationDetails {
	modules := []migrationDetails{}
	for _, s := range states {
		i := slices.IndexFunc(modules, func(m migrationDetails) bool { return m.Module == s.Module })
		if i < 0 {
			i = len(modules)
			modules = append(modules, migrationDetails{Module: s.Module, Pending: []string{}})
		}
		m := &modules[i]
		if s.AppliedAt.IsZero() {
			m.Pending = append(m.Pending, s.Name)
			continue
		}
		m.Applied++
		m.Newest, m.AppliedAt = s.Name, stamp(s.AppliedAt)
	}
	return modules
}

func (a *API) describeWebhooks(ctx context.Context) (*webhookDetails, error) {
	if a.webhooks == nil {
		return nil, nil
	}
	endpoints, _, err := a.webhooks.ListEndpoints(ctx, webhook.Page{Limit: webhook.MaxEndpoints})
	d := &webhookDetails{}
	for _, e := range endpoints {
		switch {
		case e.Enabled():
			d.Enabled++
		case e.DisabledReason == webhook.DisabledGone:
			d.Gone++
			d.Disabled++
		default:
			d.Disabled++
		}
	}
	return d, err
}

// waitingOf is what waits for the consumer of that name; for all if it is empty.
func waitingOf(consumers []outbox.Enrolled, name string, now time.Time) (d eventDetails) {
	var oldest time.Time
	for _, e := range consumers {
		if name != "" && e.Name != name {
			continue
		}
		d.Waiting += e.Waiting
		d.Dead += e.Dead
		if !e.Oldest.IsZero() && (oldest.IsZero() || e.Oldest.Before(oldest)) {
			oldest = e.Oldest
		}
	}
	d.OldestAt = stamp(oldest)
	d.late = !oldest.IsZero() && now.Sub(oldest) > lateTime
	return d
}

// judge says of each part how it stands, and of all together.
func (h *healthDetails) judge() {
	h.Status = statusOK
	add := func(name string, wrong ...healthCheck) {
		c := healthCheck{Name: name, Status: statusOK}
		for _, w := range wrong { // the first that is so
			if w.Status != "" {
				c.Status, c.Reason = w.Status, w.Reason
				break
			}
		}
		h.Checks = append(h.Checks, c)
		if c.Status == statusFailing || c.Status == statusWarning && h.Status == statusOK {
			h.Status = c.Status
		}
	}
	when := func(is bool, status, reason string) healthCheck {
		if !is {
			return healthCheck{}
		}
		return healthCheck{Status: status, Reason: reason}
	}
	pending := slices.ContainsFunc(h.Migrations, func(m migrationDetails) bool { return len(m.Pending) > 0 })
	unavailable := slices.ContainsFunc(h.Providers, func(p providerDetails) bool { return !p.Available })
	add("database", when(len(h.Database.MissingIndexes) > 0, statusWarning, "index_missing"))
	add("migrations", when(pending, statusFailing, "migration_pending"))
	add("mail", when(h.Mail.Dead > 0, statusFailing, "mail_dead"), when(h.Mail.late, statusFailing, "mail_late"),
		when(h.Mail.Driver == nil, statusWarning, "mail_off"))
	add("providers", when(unavailable, statusWarning, "provider_unavailable"))
	if h.Webhooks != nil {
		add("webhooks", when(h.Webhooks.Gone > 0, statusWarning, "webhook_gone"))
	}
	if h.Events != nil {
		add("events", when(h.Events.Dead > 0, statusWarning, "event_dead"), when(h.Events.late, statusWarning, "event_late"))
	}
}
