package authtest_test

import (
	"context"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
)

// badges is a whole provider: it lets in who holds a badge, and keeps nothing.
type badges map[string]string

func (badges) Name() string { return "badge" }

func (known badges) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Badge string `json:"badge"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	person, ok := known[in.Badge]
	if _, err := a.Secret(ctx, person); err != nil { // counts who is tried, or that nobody is
		return auth.Assertion{}, err
	}
	if !ok {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	return auth.Assertion{EntityID: person}, nil
}

// TestBadges is the whole test of it.
func TestBadges(t *testing.T) {
	authtest.Provider(t, authtest.Case{
		New:  func(*testing.T) auth.Provider { return badges{"badge-0001": "ada", "badge-0002": "grace"} },
		Good: auth.Input(`{"badge":"badge-0001"}`),
		Bad:  map[string]auth.Input{"unknown badge": auth.Input(`{"badge":"badge-0666"}`)},

		Unguessable: true, // a real badge holds a long random text, and nothing beside it
	})
}
