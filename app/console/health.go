package console

import (
	"net/http"
	"time"
)

// healthRoutes are the pages about how the server is.
func (c *Console) healthRoutes() []route {
	return []route{{"/health", c.within(openHealth), nil}}
}

// health is how the server is, as the API says it.
type health struct {
	Status  string
	Checks  []healthCheck
	Program struct {
		Version, Revision, Go string
		StartedAt             time.Time `json:"started_at"`
	}
	Database struct {
		Kind, Version  string
		MaxConnections int      `json:"max_connections"`
		MissingIndexes []string `json:"missing_indexes"`
	}
	Migrations []struct {
		Module, Newest string
		Applied        int
		AppliedAt      time.Time `json:"applied_at"`
		Pending        []string
	}
	Mail struct {
		Driver string
		waitingEvents
	}
	Providers []struct {
		ID, Flow    string
		DisplayName string `json:"display_name"`
		Available   bool
	}
	Webhooks *struct{ Enabled, Disabled, Gone int }
	Events   *waitingEvents
}

// waitingEvents is how much of something waits.
type waitingEvents struct {
	Waiting, Dead int
	OldestAt      time.Time `json:"oldest_at"`
}

// healthCheck is how one part stands.
type healthCheck struct{ Name, Status, Reason string }

// Badge is the look of a status.
func (c healthCheck) Badge() string {
	return map[string]string{"ok": "good", "warning": "warn", "failing": "bad"}[c.Status]
}

// All is the check of everything together.
func (h health) All() healthCheck { return healthCheck{"all", h.Status, ""} }

// Check is the check of a part; what there is none of is in order.
func (h health) Check(name string) healthCheck {
	for _, c := range h.Checks {
		if c.Name == name {
			return c
		}
	}
	return healthCheck{name, "ok", ""}
}

func openHealth(in *inside) error {
	var answer struct{ Health health }
	if err := in.api(http.MethodGet, "/admin/health", nil, &answer); err != nil {
		return err
	}
	return in.show("health", view{Title: "health.title", Data: struct {
		health
		SeesEvents, SeesWebhooks bool
	}{answer.Health, in.may("event:read"), in.may("webhook:read")}})
}
