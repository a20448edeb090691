package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"regexp"
	"slices"
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

// Handler is everything the program serves: the pages under their path, the API elsewhere. The front page leads to the pages. Without
// pages (nil) it is the API alone.
func Handler(api *httpapi.API, pages *console.Console) http.Handler {
	if pages == nil {
		return api
	}
	at := pages.Prefixes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p := r.URL.Path; {
		case p == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			http.Redirect(w, r, at[0], http.StatusSeeOther)
		case p == at[0] || strings.HasPrefix(p, at[1]):
			pages.ServeHTTP(w, r)
		default:
			api.ServeHTTP(w, r)
		}
	})
}

// WithHandler adds routes of the application's own to those of the program: everything under the pattern, such as "/store/",
// by the handler that the constructor makes; fx gives it what it asks for, such as an *httpapi.API, whose RequireActor says
// who calls. New fails for a pattern that takes away a route of ours.
func WithHandler(pattern string, constructor any) fx.Option {
	name := fmt.Sprintf(`name:"handler of %s"`, pattern)
	return fx.Provide(
		fx.Annotate(constructor, fx.As(new(http.Handler)), fx.ResultTags(name)),
		fx.Annotate(func(h http.Handler) ownHandler { return ownHandler{pattern, h} }, fx.ParamTags(name), fx.ResultTags(`group:"app.handlers"`)),
	)
}

type ownHandler struct {
	pattern string
	http.Handler
}

// withOwn is ours, and the application's own handlers for what they are for.
func withOwn(ours http.Handler, paths []string, own []ownHandler) (http.Handler, error) {
	if len(own) == 0 {
		return ours, nil
	}
	mux := http.NewServeMux()
	mux.Handle("/", ours)
	for i, h := range own {
		if !ownPattern.MatchString(h.pattern) || path.Clean(h.pattern) != strings.TrimSuffix(h.pattern, "/") || h.pattern == "//" || slices.ContainsFunc(paths, func(of string) bool { return takes(h.pattern, of) }) {
			return nil, fmt.Errorf("app.WithHandler: the pattern %q is not one of an application: use one such as /store/, not under %s", h.pattern, strings.Join(paths, ", "))
		}
		if slices.ContainsFunc(own[:i], func(other ownHandler) bool { return other.pattern == h.pattern }) {
			return nil, fmt.Errorf("app.WithHandler: there are two handlers for %s", h.pattern)
		}
		mux.Handle(h.pattern, h)
	}
	return mux, nil
}

// takes reports whether a handler of the pattern would answer a path under ours, which ends with a slash.
func takes(pattern, ours string) bool {
	return strings.HasPrefix(pattern+"/", ours) || strings.HasSuffix(pattern, "/") && strings.HasPrefix(ours, pattern)
}

var (
	ownPattern = regexp.MustCompile(`^/[A-Za-z0-9_.~/-]+$`)
	ourPaths   = []string{"/auth/", "/admin/", "/.well-known/", "/health/"}
)

// serve answers requests from start to stop, with limits that a slow or greedy client runs into.
func serve(lc fx.Lifecycle, at *listener, api *httpapi.API, pages *console.Console, own []ownHandler, log *slog.Logger, shutdown fx.Shutdowner) error {
	paths := ourPaths
	if pages != nil {
		paths = append(slices.Clone(paths), pages.Prefixes()[1])
	}
	handler, err := withOwn(Handler(api, pages), paths, own)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           handler,
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
	return nil
}
