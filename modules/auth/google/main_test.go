package google_test

import (
	"log/slog"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/google"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

const callback = "https://app.example.com/auth/user/google/callback"

// provider makes one that speaks to an imitation.
func provider(t testing.TB, c google.Config, log *slog.Logger) auth.Provider {
	t.Helper()
	p, err := google.New("google", c, log)
	must(t, err)
	return p
}

func newService(t testing.TB, c google.Config) authtest.Service {
	t.Helper()
	log := new(secrettest.Log)
	return authtest.NewService(t, log, provider(t, c, log.Logger()))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
