package app

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"maps"
	netmail "net/mail"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"
	"golang.org/x/term"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/console"
	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/purge"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/auth/github"
	"github.com/latchkey-go/latchkey/modules/auth/google"
	"github.com/latchkey-go/latchkey/modules/auth/magiclink"
	"github.com/latchkey-go/latchkey/modules/auth/microsoft"
	"github.com/latchkey-go/latchkey/modules/auth/oidc"
	"github.com/latchkey-go/latchkey/modules/user"
)

// stopTimeout is how long a stopping server waits for the requests it has accepted.
const stopTimeout = 15 * time.Second

// New returns the server as an fx application, ready to Run. Further options add to it: providers by auth.AsProvider,
// decorators, hooks of the application's own.
func New(cfg *Config, opts ...fx.Option) *fx.App {
	return fx.New(append([]fx.Option{Module(cfg), fx.Invoke(fx.Annotate(serve, fx.ParamTags(``, ``, ``, `optional:"true"`, `group:"app.handlers"`)), warnOfMissingIndexes)}, opts...)...)
}

// Module is everything the program is made of, but for listening: New adds that.
func Module(cfg *Config) fx.Option {
	return fx.Options(
		core(cfg),
		fx.Provide(newListener, newSite, apiOptions, mailbox, fx.Annotate(newProgram, fx.ParamTags(``, ``, ``, `group:"app.migrations"`))),
		outbox.Deliver, purge.Run, webhook.Run,
		fx.Invoke(fx.Annotate(runProviders, fx.ParamTags(``, `group:"auth.providers"`))),
		httpapi.Module,
		pages(cfg),
		fx.StopTimeout(stopTimeout),
	)
}

// pages are the pages, unless they are switched off.
func pages(cfg *Config) fx.Option {
	if !cfg.Console.Enabled {
		return fx.Options()
	}
	return fx.Options(fx.Provide(consoleOptions), console.Module)
}

// consoleOptions are what the configuration says of the pages.
func consoleOptions(c *Config) (console.Options, error) {
	o := console.Options{Path: c.Console.Path, Name: c.Console.Name}
	if c.Console.Templates != "" {
		if _, err := os.ReadDir(c.Console.Templates); err != nil {
			return console.Options{}, fmt.Errorf("console.templates: %w", err)
		}
		o.Templates = os.DirFS(c.Console.Templates)
	}
	if c.Console.Logo != "" {
		var err error
		if o.Logo, err = os.ReadFile(c.Console.Logo); err != nil {
			return console.Options{}, fmt.Errorf("console.logo: %w", err)
		}
	}
	return o, nil
}

// at is where the pages are on the site of that address.
func (c *Config) at(site string) string { return site + c.Console.Path }

// pages is the path of the pages; empty if there are none.
func (c *Config) pages() string {
	if !c.Console.Enabled {
		return ""
	}
	return c.Console.Path
}

// core is what every command needs.
func core(cfg *Config) fx.Option {
	return fx.Options(
		fx.Supply(cfg, fx.Annotate(os.Stderr, fx.As(new(io.Writer)), fx.ResultTags(`name:"log"`)),
			fx.Annotate(os.Stdout, fx.As(new(io.Writer)), fx.ResultTags(`name:"terminal"`))),
		fx.Provide(
			fx.Annotate(newLogger, fx.ParamTags(``, `name:"log"`)),
			newKeyring, fx.Annotate(newPeppers, fx.ResultTags(`name:"peppers"`)),
			fx.Annotate(openDatabase, fx.ParamTags(``, ``, ``, ``, `group:"app.migrations"`)),
			fx.Annotate(checkProviders, fx.ParamTags(``, `group:"auth.providers"`, `group:"auth.provider_types"`)),
			refuseUnknownProviders, fx.Annotate(checkActors, fx.ParamTags(``, ``, `group:"link.actors"`)),
			userOptions, authOptions, passwordOptions, fx.Annotate(linkOptions, fx.ParamTags(``, `name:"link.policy" optional:"true"`)),
			fx.Annotate(newBox, fx.ParamTags(``, `name:"terminal"`)),
			fx.Annotate(mailOptions, fx.ParamTags(``, `optional:"true"`, `name:"terminal"`)),
			func(c *Config) auth.Settings { return auth.Settings(c.Auth.Providers) },
			func(c *Config) outbox.Options {
				return outbox.Options{Retention: c.Events.Retention, MaxAttempts: c.Events.MaxAttempts}
			},
			fx.Annotate(webhookOptions, fx.ParamTags(``, `optional:"true"`)),
			func(c *Config) audit.Options { return audit.Options{Retention: c.Audit.Retention} },
			purge.AsJobs(purgeJobs),
		),
		fx.WithLogger(func(log *slog.Logger) fxevent.Logger {
			l := &fxevent.SlogLogger{Logger: log.With("module", "fx")}
			l.UseLogLevel(slog.LevelDebug)
			l.UseErrorLevel(slog.LevelDebug) // whoever starts the program says what went wrong, once and in words
			return l
		}),
		user.Module, auth.Module, emailpass.Module, mailedSignIns(cfg),
		oidc.Module, google.Module, microsoft.Module, github.Module, link.Module, outbox.Module, mail.Module, webhook.Module,
		audit.Module, audit.Feed, purge.Module,
		fx.Invoke(func(actorsChecked) {}, openKeys),
	)
}

// mailedSignIns is the provider that signs in by what is mailed, for a configuration that names it: nobody has it unasked.
func mailedSignIns(cfg *Config) fx.Option {
	if !cfg.names(magiclink.Name) {
		return fx.Options()
	}
	return fx.Options(magiclink.Module, fx.Provide(fx.Annotate(func(c *Config, at *listener) magiclink.Options {
		if at != nil {
			return magiclink.Options{URL: at.url, Page: c.Console.Path + "/magic"}
		}
		return magiclink.Options{URL: c.HTTP.PublicURL, Page: c.Console.Path + "/magic"}
	}, fx.ParamTags(``, `optional:"true"`))))
}

// newLogger writes text to a terminal and JSON elsewhere, unless the configuration says which.
func newLogger(c *Config, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		level = slog.LevelInfo
	}
	format := c.Log.Format
	if format == "auto" {
		format = "json"
		if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			format = "text"
		}
	}
	options := &slog.HandlerOptions{Level: level}
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func userOptions(c *Config) user.Options {
	return user.Options{InviteTTL: c.Invite.TTL, InviteMaxTTL: c.Invite.MaxTTL, InviteMaxPending: c.Invite.MaxPending, InviteRoles: c.Invite.DefaultRoles}
}

func authOptions(c *Config) auth.Options {
	return auth.Options{
		Issuer: c.HTTP.PublicURL, Algorithm: c.Auth.Token.Alg, TokenTTL: c.Auth.Token.TTL,
		SessionTTL: c.Auth.Session.TTL, IdleTTL: c.Auth.Session.Idle, MaxSessions: c.Auth.Session.Max,
		Throttle: throttleOptions(c),
	}
}

func throttleOptions(c *Config) auth.ThrottleOptions {
	t := c.Auth.Throttle
	return auth.ThrottleOptions{
		Disabled: !t.Enabled, MaxWait: c.Auth.Password.MaxWait,
		AccountAddress: auth.Limit{Most: t.AccountAddress}, Account: auth.Limit{Most: t.Account}, Address: auth.Limit{Most: t.Address},
	}
}

func passwordOptions(c *Config) auth.PasswordOptions {
	p := c.Auth.Password
	return auth.PasswordOptions{
		Cost: p.BcryptCost, MaxWait: p.MaxWait, Slots: c.cores,
		Policy: auth.Policy{MinLength: p.MinLength, MinStrength: p.MinStrength, Words: passwordWords(c)},
		Breach: auth.BreachMode(p.BreachCheck), BreachURL: p.BreachURL,
	}
}

// makeRoom has as many hashes run at a time as Go has processors, and Go use twice as many, so that it is the system that
// shares the cores between hashes, which give way, and everything else. Otherwise whoever reads waits at each step for Go to
// interrupt a hash, which it does a hundred times a second. It is for the whole process, so it is for a program of ours alone.
//
// It returns what undoes it.
func (c *Config) makeRoom() (undo func()) {
	c.cores = runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(2 * c.cores)
	return func() { runtime.GOMAXPROCS(c.cores) }
}

// passwordWords are what nobody's password may be made of: the configured words, the name of this program, and the names
// that the service goes by, in its address and in its mails.
func passwordWords(c *Config) []string {
	words := append([]string{"latchkey"}, c.Auth.Password.ContextWords...)
	if u, err := url.Parse(c.HTTP.PublicURL); err == nil {
		host := u.Hostname()
		labels := strings.Split(host, ".")
		words = append(append(words, host), labels[:len(labels)-1]...) // com is nobody's name
	}
	if from, err := netmail.ParseAddress(c.Mail.From); err == nil {
		words = append(words, from.Name)
	}
	if c.Mail.Name != "" {
		words = append(words, c.Mail.Name)
	}
	return words
}

// linkOptions are the options of the link layer. A policy that the program brings decides about users in place of the
// configuration's, and nothing that an operator relies on is passed over in silence for it.
func linkOptions(c *Config, own link.Policy) (link.Options, error) {
	o := link.Options{Actors: map[string]link.ActorOptions{}, EnumerationSafe: c.Auth.EnumerationSafe, UnlinkedTTL: c.Link.UnlinkedTTL,
		InviteSameEmail: c.Invite.RequireSameEmail}
	for name, a := range c.Link.Actors {
		policy, err := link.PolicyNamed(a.Policy)
		if err != nil {
			return link.Options{}, err
		}
		policy = link.WithRoles(policy, a.DefaultRoles...)
		if len(a.AllowedDomains) > 0 {
			policy = link.AllowDomains(policy, a.AllowedDomains...)
		}
		if name == link.ActorUser && own != nil {
			if problems := c.decidesToo(name, a); len(problems) > 0 {
				return link.Options{}, problems
			}
			policy = nil // link.New takes the program's
		}
		o.Actors[name] = link.ActorOptions{Policy: policy, Providers: a.Providers, RequireVerifiedEmail: a.RequireVerifiedEmail, CreateProviders: a.CreateUsersBy}
	}
	return o, nil
}

// decidesToo says which settings decide who becomes an actor of that type, in a program that brings a policy of its own.
func (c *Config) decidesToo(name string, a ActorConfig) (problems Problems) {
	def := DefaultConfig().Link.Actors[link.ActorUser]
	for _, s := range []struct {
		key string
		set bool
	}{
		{"policy", a.Policy != def.Policy}, {"allowed_domains", len(a.AllowedDomains) > 0},
		{"default_roles", !slices.Equal(a.DefaultRoles, def.DefaultRoles)},
	} {
		if s.set {
			problems = append(problems, Problem{c.where("link.actors." + name + "." + s.key),
				"must not be set: this program decides by a policy of its own who becomes a " + name})
		}
	}
	return problems
}

func apiOptions(c *Config, log *slog.Logger) httpapi.Options {
	warnOfNewcomers(c, log)
	for _, role := range c.Invite.DefaultRoles {
		if _, named := c.Roles[role]; !named && role != user.RoleAdmin && role != user.RoleMember {
			log.Warn("invites are for a role that roles does not name: it gives no permission", "invite.default_roles", role)
		}
	}
	return httpapi.Options{
		ResetTokenInResponse: c.Admin.ResetTokenInResponse, Roles: c.Roles,
		CallbackURLs: c.HTTP.CallbackURLs, RequireFlowCookie: c.HTTP.RequireFlowCookie, Pages: c.pages(),
	}
}

// warnOfNewcomers says what the settings about first sign-ins give to more people than meant, or to nobody.
func warnOfNewcomers(c *Config, log *slog.Logger) {
	for name, a := range c.Link.Actors {
		for _, role := range a.DefaultRoles {
			given, named := c.Roles[role]
			if len(given) > 0 {
				log.Warn("the role "+role+" gives permissions: whoever signs in for the first time has them", "permissions", given)
			}
			if !named && role != user.RoleMember {
				log.Warn("whoever signs in for the first time has a role that roles does not name: it gives no permission",
					"link.actors."+name+".default_roles", role)
			}
		}
		if a.Policy != "auto" && len(a.AllowedDomains) > 0 {
			log.Warn("allowed_domains lets nobody in where only who is invited becomes somebody: the policy is not auto", "link.actors."+name+".policy", a.Policy)
		}
	}
}

// mailOptions says who takes the mails. A program that does not listen records what is to be mailed, and leaves the rest to
// one that does.
func mailOptions(c *Config, at *listener, terminal io.Writer, box *mail.Box, log *slog.Logger) (mail.Options, error) {
	o := mailWords(c)
	if at != nil {
		o.URL = at.url
	}
	var err error
	if o.Sender, err = newSender(c, terminal); err != nil {
		return mail.Options{}, err
	}
	switch c.Mail.driver(c.Production()) {
	case "log":
		if box != nil {
			o.Sender = box
		}
	case "file":
		if c.Production() && c.Mail.From == DefaultConfig().Mail.From && at != nil {
			log.Warn("mail.from is not set: mails say that they are from nobody", "from", c.Mail.From)
		}
	case "smtp":
		if c.Mail.SMTP.TLS == mail.NoTLS && !mail.IsLoopback(c.Mail.SMTP.Host) && at != nil {
			log.Warn("mail.smtp.tls is none: mails, with links that open accounts, travel in clear", "mail.smtp.host", c.Mail.SMTP.Host)
		}
	default:
		if c.Mail.Driver == "auto" && at != nil {
			log.Warn("mail.driver is not set, nor is mail.smtp.host: nobody is sent an invite or a link to reset their password")
		}
		if settings := c.needsMail(); at != nil && len(settings) > 0 {
			log.Warn("addresses have to be proved by a mailed link, and no mail is sent: who has not proved theirs stays outside",
				"because_of", strings.Join(settings, ", "), "mail.driver", c.Mail.Driver)
		}
	}
	return o, nil
}

// boxed is how many mails are kept to be looked at.
const boxed = 200

// newBox keeps the mails that go to the terminal in development, for a page that shows them; nil: mails are kept from everybody but whom
// they are for, as they must be in production.
func newBox(c *Config, terminal io.Writer) *mail.Box {
	if c.Production() || c.Mail.driver(false) != "log" {
		return nil
	}
	return mail.NewBox(mail.NewLog(terminal), boxed)
}

// mailbox is the box as the pages show it; nil: there is none, or the application has others take the mails.
func mailbox(box *mail.Box, o mail.Options) console.Mailbox {
	if box == nil || o.Sender != mail.Sender(box) {
		return nil
	}
	return shownBox{box}
}

type shownBox struct{ box *mail.Box }

func (b shownBox) Mails() []console.Mail {
	kept := b.box.Mails()
	shown := make([]console.Mail, len(kept))
	for i, m := range kept {
		shown[i] = console.Mail{ID: strconv.Itoa(m.N), From: m.From, To: m.To, Subject: m.Subject, Text: m.Text, HTML: m.HTML, At: m.SentAt}
	}
	return shown
}

// newSender is who takes the mails, or nil if nobody does.
func newSender(c *Config, terminal io.Writer) (mail.Sender, error) {
	switch c.Mail.driver(c.Production()) {
	case "log":
		return mail.NewLog(terminal), nil
	case "file":
		path := c.Mail.Path
		if path == "" {
			if err := makeDataDir(c); err != nil {
				return nil, err
			}
			path = filepath.Join(c.DataDir, "mail.jsonl")
		}
		file, err := mail.NewFile(path)
		if err != nil {
			return nil, fmt.Errorf("mail.path: %w", err)
		}
		return file, nil
	case "smtp":
		m := c.Mail.SMTP
		o := mail.SMTPOptions{Host: m.Host, Port: m.Port, TLS: m.TLS, Username: m.Username, Password: string(m.Password.Bytes()), Timeout: m.Timeout}
		if m.CAFile != "" {
			known, err := os.ReadFile(m.CAFile)
			if err != nil {
				return nil, fmt.Errorf("mail.smtp.ca_file: %w", err)
			}
			if o.RootCAs = x509.NewCertPool(); !o.RootCAs.AppendCertsFromPEM(known) {
				return nil, fmt.Errorf("mail.smtp.ca_file: %s holds no certificate in PEM", m.CAFile)
			}
		}
		smtp, err := mail.NewSMTP(o)
		if err != nil {
			return nil, err
		}
		return smtp, nil
	}
	return nil, nil
}

// webhookOptions are the options of webhooks.
func webhookOptions(c *Config, at *listener, log *slog.Logger) webhook.Options {
	if c.Webhooks.PrivateAddresses && c.Production() && at != nil {
		log.Warn("webhooks.private_addresses is true: whoever may register webhooks can have this server send requests into its own network")
	}
	return webhook.Options{PrivateAddresses: c.Webhooks.PrivateAddresses, Retention: c.Events.Retention}
}

// providersChecked says that the configuration speaks of providers that there are.
type providersChecked struct{}

func refuseUnknownProviders(wrong providerFaults) (providersChecked, error) {
	if len(wrong) > 0 {
		return providersChecked{}, Problems(wrong)
	}
	return providersChecked{}, nil
}

// providerFaults are what the configuration says wrong of providers.
type providerFaults Problems

// checkProviders says all at once what LoadConfig cannot know, before a database is opened.
func checkProviders(c *Config, providers []auth.Provider, made []auth.ProviderType, log *slog.Logger) providerFaults {
	var problems Problems
	add := func(key, format string, args ...any) {
		problems = append(problems, Problem{c.where(key), fmt.Sprintf(format, args...)})
	}
	known := map[string]bool{}
	for _, p := range providers {
		known[p.Name()] = true
		wrong := auth.ProviderFault(p)
		for _, e := range auth.SettingsErrors(wrong) {
			for _, key := range e.Keys {
				add(key, "%s", e.What)
			}
		}
		if wrong != nil && auth.SettingsErrors(wrong) == nil {
			add("auth.providers."+p.Name(), "%v", wrong)
		}
	}
	c.checkAddresses(add)
	names := strings.Join(slices.Sorted(maps.Keys(known)), ", ")
	var types []string
	for _, t := range made {
		types = append(types, t.Name)
	}
	slices.Sort(types)
	for _, id := range slices.Sorted(maps.Keys(c.Auth.Providers)) {
		switch _, typed := c.Auth.Providers[id]["type"]; {
		case known[id]:
		case typed:
			add("auth.providers."+id+".type", "there is no such type of provider; there are %s", strings.Join(types, ", "))
			known[id] = true // it was meant to be there
		default:
			add("auth.providers."+id, "there is no such provider; there are %s", names)
		}
	}
	used := map[string]bool{}
	for _, actor := range slices.Sorted(maps.Keys(c.Link.Actors)) {
		for _, id := range c.Link.Actors[actor].Providers {
			if used[id] = true; !known[id] {
				hint := ""
				if slices.Contains(types, id) {
					hint = fmt.Sprintf(": the section auth.providers.%s makes it", id)
				}
				add("link.actors."+actor+".providers", "there is no provider %q%s; there are %s", id, hint, names)
			}
		}
		for _, id := range c.Link.Actors[actor].CreateUsersBy {
			switch {
			case !slices.Contains(c.Link.Actors[actor].Providers, id):
				add("link.actors."+actor+".create_users_by", "%q is not among link.actors.%s.providers", id, actor)
			case keepsSecrets(providers, id):
				add("link.actors."+actor+".create_users_by", "%q vouches for nobody's address: whoever registers with it types one", id)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(known)) {
		if !used[id] && id != emailpass.Name {
			log.Warn("a provider is part of this program, and no section of link.actors lists it: users cannot sign in by it; add it to link.actors.user.providers", "provider", id)
		}
	}
	return providerFaults(problems)
}

// runProviders has providers that have something to do do it, from start to stop.
func runProviders(lc fx.Lifecycle, providers []auth.Provider) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error {
			for _, p := range providers {
				if r, ok := p.(auth.Runner); ok {
					running.Go(func() { r.Run(ctx) })
				}
			}
			return nil
		},
		OnStop: func(context.Context) error {
			cancel()
			running.Wait()
			return nil
		},
	})
}

// actorsChecked says that the configuration speaks of actor types that there are.
type actorsChecked struct{}

// checkActors adds what is wrong of actor types. Those that the application keeps may need the database, which is opened when the
// providers are right; where there are none but users all is said at once, and none is opened.
func checkActors(c *Config, wrong providerFaults, actors []link.Actors) (actorsChecked, error) {
	types := []string{link.ActorUser}
	for _, a := range actors {
		types = append(types, a.ActorType())
	}
	problems := Problems(slices.Clone(wrong))
	for _, actor := range slices.Sorted(maps.Keys(c.Link.Actors)) {
		if !slices.Contains(types, actor) {
			problems = append(problems, Problem{c.where("link.actors." + actor), "there is no such actor type; there is " + strings.Join(types, ", ")})
		}
	}
	if len(problems) > 0 {
		return actorsChecked{}, problems
	}
	return actorsChecked{}, nil
}

// keepsSecrets reports whether the provider of that name is one with passwords or their like.
func keepsSecrets(providers []auth.Provider, name string) bool {
	return slices.ContainsFunc(providers, func(p auth.Provider) bool {
		_, keeps := p.(auth.Updater)
		return keeps && p.Name() == name
	})
}

func newSite(at *listener, c *Config, log *slog.Logger) (*web.Site, error) {
	if c.Production() && c.HTTP.PublicURL == "" {
		log.Warn("http.public_url is not set: links say where this server listens, and the cookie is not bound to https", "url", at.url)
	}
	warnOfThrottling(c, log)
	return web.New(web.Options{PublicURL: at.url, TrustedProxies: c.HTTP.TrustedProxies, CORSOrigins: c.HTTP.CORSOrigins})
}

// warnOfThrottling says what keeps fewer guesses out than there could be.
func warnOfThrottling(c *Config, log *slog.Logger) {
	switch {
	case !c.Auth.Throttle.Enabled:
		log.Warn("auth.throttle.enabled is false: nothing here keeps anybody from guessing passwords")
	case !c.Production() || len(c.HTTP.TrustedProxies) > 0:
	case listensOnLoopback(c.HTTP.Addr):
		log.Warn("http.trusted_proxies is not set: everybody comes from the proxy on this machine, so the limits by address alone are off, " +
			"and who guesses keeps others from the same account by address, too")
	default:
		log.Warn("http.trusted_proxies is not set: if there is a proxy in front, everybody comes from its address, " +
			"and who fails often keeps everybody out")
	}
}

// stop runs f with the time that stopping may take.
func stop(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return f(ctx)
}
