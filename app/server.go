package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/console"
	"github.com/latchkey-go/latchkey/app/httpapi"
)

// listener is where the server listens, known before anything says where it is.
type listener struct {
	net.Listener
	url string // as people type it
}

func newListener(lc fx.Lifecycle, c *Config) (*listener, error) {
	l, err := net.Listen("tcp", c.HTTP.Addr) //nolint:noctx // listening does not wait
	if err != nil {
		return nil, fmt.Errorf("http.addr: %w; LATCHKEY_HTTP_ADDR=127.0.0.1:9001, say, listens elsewhere", err)
	}
	lc.Append(fx.StopHook(func() { l.Close() })) //nolint:errcheck // the server has closed it
	at := c.HTTP
	at.Addr = l.Addr().String() // the port may have been 0
	return &listener{l, at.URL()}, nil
}

// Handler is everything the program serves: the pages under /app, the API elsewhere. The front page leads to the pages.
func Handler(api *httpapi.API, pages *console.Console) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p := r.URL.Path; {
		case p == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			http.Redirect(w, r, "/app", http.StatusSeeOther)
		case p == "/app" || strings.HasPrefix(p, "/app/"):
			pages.ServeHTTP(w, r)
		default:
			api.ServeHTTP(w, r)
		}
	})
}

// serve answers requests from start to stop, with limits that a slow or greedy client runs into.
func serve(lc fx.Lifecycle, at *listener, api *httpapi.API, pages *console.Console, log *slog.Logger, shutdown fx.Shutdowner) {
	server := &http.Server{
		Handler:           Handler(api, pages),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error {
			go func() {
				if err := server.Serve(at); !errors.Is(err, http.ErrServerClosed) {
					log.Error("the server stopped serving", "error", err)
					_ = shutdown.Shutdown(fx.ExitCode(1)) // fails only when stopping already
				}
			}()
			return nil
		},
		OnStop: server.Shutdown,
	})
}
