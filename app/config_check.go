// What values must be, each by itself and several together.

package app

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/app/console"
	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// checks say what is wrong with a text, or with each entry of a list, or "". They
// add to what type and tags say.
var checks = map[string]func(string) string{
	"http.addr":                     checkAddr,
	"http.public_url":               checkPublicURL,
	"http.cors_origins":             checkOrigin,
	"http.callback_urls":            checkCallbackURL,
	"database.url":                  checkDSN,
	"data_dir":                      checkNotEmpty,
	"auth.password.context_words":   checkContextWord,
	"auth.password.breach_url":      checkBreachURL,
	"link.actors.*.providers":       checkProvider,
	"link.actors.*.allowed_domains": checkDomain,
	"link.actors.*.default_roles":   checkRole,
	"link.actors.*.create_users_by": checkProvider,
	"invite.default_roles":          checkRole,
	"roles.*":                       checkPermission,
	"console.path":                  checkPages,
	"console.name":                  checkName,
	"mail.from":                     checkFrom,
	"mail.name":                     checkName,
	"mail.smtp.host":                checkSMTPHost,
}

func checkPages(path string) string {
	if err := console.CheckPath(path); err != nil {
		return err.Error()
	}
	return ""
}

const howToMakeSecret = "make one with: openssl rand -base64 32 | tr '+/' '-_' | tr -d '='"

// validate says what is wrong with c, a line for a key at most, and leaves out the
// keys in bad.
func (c *Config) validate(bad map[string]bool) Problems {
	bad = maps.Clone(bad)
	if bad == nil {
		bad = make(map[string]bool)
	}
	var problems Problems
	add := func(key, format string, args ...any) {
		if !bad[key] {
			bad[key] = true
			problems = append(problems, Problem{c.where(key), fmt.Sprintf(format, args...)})
		}
	}
	for key, s := range known.each(c) {
		if s.named != nil {
			if wrong := s.named.wrong(s.name(key)); wrong != "" {
				add(s.named.pattern+"."+s.name(key), "%s", wrong)
				continue
			}
		}
		if s.free {
			continue
		}
		if wrong := s.check(s.get(c, key)); wrong != "" {
			add(key, "%s", wrong)
		}
	}
	c.together(add)
	return problems
}

// together says what is wrong with values that are each fine.
func (c *Config) together(add func(key, format string, args ...any)) {
	switch {
	case len(c.Secrets) > 0:
	case c.Database.URL.Postgres() && !c.Production() && c.hasDevelopmentSecret():
		// Whether it is the one that the database was made with, the database says.
	case c.Database.URL.Postgres():
		add("secrets", "PostgreSQL needs a secret that all nodes share: set LATCHKEY_SECRETS; %s", howToMakeSecret)
	case c.Production():
		add("secrets", "production needs a secret of its own: set LATCHKEY_SECRETS; %s", howToMakeSecret)
	}
	if c.Auth.Session.Idle < auth.MinIdleTTL {
		add("auth.session.idle", "must be at least %s, because that a session is in use is noted once a minute", printValue(reflect.ValueOf(auth.MinIdleTTL)))
	}
	if c.Invite.MaxTTL < c.Invite.TTL {
		add("invite.max_ttl", "must be at least invite.ttl")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Link.Actors)) {
		for _, role := range c.Link.Actors[name].DefaultRoles {
			if role == user.RoleAdmin || slices.Contains(c.Roles[role], "*") {
				add("link.actors."+name+".default_roles", "must not give %s, which may do everything, to whoever signs in for the first time: invite those who are to have it", role)
			}
		}
		if name == link.ActorUser {
			continue
		}
		if c.Link.Actors[name].Policy == "invite" {
			add("link.actors."+name+".policy", "must be auto or manual: nobody is invited to be anything but a user")
		}
		if len(c.Link.Actors[name].CreateUsersBy) > 0 {
			add("link.actors."+name+".create_users_by", "must be empty: only users are made by it; set link.actors.user.create_users_by")
		}
	}
	if given, ok := c.Roles[user.RoleAdmin]; ok && !slices.Contains(given, "*") {
		add("roles."+user.RoleAdmin, `must be ["*"], because somebody has to be able to do everything: make a role of another name for less`)
	}
	c.checkSMTP(add)
	if !c.Production() {
		return
	}
	if u, err := url.Parse(c.HTTP.URL()); err == nil && u.Scheme == "http" && (!mail.IsLoopback(u.Hostname()) || c.HTTP.PublicURL == "" && !listensOnLoopback(c.HTTP.Addr)) {
		add("http.public_url", "must be set to https://… in production, because passwords and sessions travel over it")
	}
	if wrong := checkEntries(c.HTTP.CallbackURLs, func(s string) string {
		if travelsInClear(s) {
			return "must be https:// in production, because what signs people in travels there: http is for this machine"
		}
		return ""
	}); wrong != "" {
		add("http.callback_urls", "%s", wrong)
	}
	if c.Auth.Password.BcryptCost < 10 {
		add("auth.password.bcrypt_cost", "must be at least 10 in production: lower ones are for tests")
	}
	if c.Auth.Password.BreachCheck != string(auth.BreachOff) && !strings.HasPrefix(c.Auth.Password.BreachURL, "https://") {
		add("auth.password.breach_url", "must be https:// in production: http on this machine is for tests")
	}
	if c.Mail.Driver == "log" {
		add("mail.driver", "must not be log in production, because mails hold links that open accounts: use smtp, file, or none")
	}
	if c.Mail.driver(true) == "smtp" {
		if c.Mail.From == DefaultConfig().Mail.From {
			add("mail.from", "must be set to an address of yours, such as Latchkey <latchkey@example.com>: no server takes mails from localhost")
		}
		if c.Mail.SMTP.TLS == mail.NoTLS && !mail.IsLoopback(c.Mail.SMTP.Host) {
			add("mail.smtp.tls", "must be starttls or tls in production, because mails hold links that open accounts: none is for a server on this machine")
		}
	}
	for _, list := range []struct {
		key     string
		secrets []Secret
	}{{"secrets", c.Secrets}, {"auth.password.peppers", c.Auth.Password.Peppers}} {
		if wrong := checkMade(list.secrets); wrong != "" {
			add(list.key, "%s", wrong)
		}
	}
}

// checkAddresses says which addresses of providers production refuses: those of who says who somebody is, and where people
// come back to.
func (c *Config) checkAddresses(add func(key, format string, args ...any)) {
	if !c.Production() {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(c.Auth.Providers)) {
		for _, name := range []string{"issuer", "authority", "url"} {
			if at, _ := c.Auth.Providers[id][name].(string); isHTTP(at) {
				add("auth.providers."+id+"."+name, "must be https:// in production, because whoever is between could be anybody: http is for an issuer of a test")
			}
		}
		if at, _ := c.Auth.Providers[id]["callback_url"].(string); travelsInClear(at) {
			add("auth.providers."+id+".callback_url", "must be https:// in production, because what signs people in travels there: http is for this machine")
		}
	}
}

func isHTTP(address string) bool { return strings.HasPrefix(strings.ToLower(address), "http:") }

// travelsInClear reports whether what is sent to an address can be read on its way: it is http, and not on this machine.
func travelsInClear(address string) bool {
	u, err := url.Parse(address)
	return isHTTP(address) && (err != nil || !mail.IsLoopback(u.Hostname()))
}

// checkSMTP says what is wrong with the settings of the driver smtp together.
func (c *Config) checkSMTP(add func(key, format string, args ...any)) {
	m, password := c.Mail.SMTP, len(c.Mail.SMTP.Password.Bytes()) > 0
	if m.Host == "" && c.Mail.Driver == "smtp" {
		add("mail.smtp.host", "must be the server that takes our mails, such as smtp.example.com, because mail.driver is smtp")
	}
	if def := DefaultConfig().Mail.SMTP; m.Host == "" && c.Mail.Driver == "auto" && (m.Port != def.Port || m.TLS != def.TLS || m.Username != "" || password || m.CAFile != "") {
		add("mail.smtp.host", "must be set, too: without it no mail is sent by SMTP")
	}
	if m.Username != "" && !password {
		add("mail.smtp.password", "must be set with mail.smtp.username, best as file:/run/secrets/smtp")
	}
	if m.Username == "" && password {
		add("mail.smtp.username", "must be set with mail.smtp.password")
	}
	if m.TLS == mail.NoTLS && password && !mail.IsLoopback(m.Host) {
		add("mail.smtp.tls", "must be starttls or tls: a password is sent without TLS only to a server on this machine")
	}
	if c.Mail.driver(c.Production()) == "smtp" && checkFrom(c.Mail.From) == "" && mail.CheckSender(c.Mail.From) != nil {
		add("mail.from", "must be an address that all servers know, in ASCII and of a domain with a dot, such as Latchkey <latchkey@example.com>")
	}
	if m.Timeout > mail.MaxTimeout {
		add("mail.smtp.timeout", "must be at most %v", mail.MaxTimeout)
	}
}

// where is how people call a key: by the variable it came from, if it did.
func (c *Config) where(key string) string {
	if name, ok := strings.CutPrefix(c.sources[key], sourceEnv); ok {
		return name
	}
	return key
}

// check says what is wrong with one value of this setting, or "".
func (s *setting) check(value reflect.Value) string {
	check := checks[s.pattern]
	switch v := value.Interface().(type) {
	case int:
		if v < s.min || v > s.max {
			return s.want()
		}
	case time.Duration:
		if v < 0 || v == 0 && s.min != 0 { // only those that say min:"0" may be zero
			return s.want()
		}
	case []netip.Prefix:
		return checkEntries(v, func(p netip.Prefix) string {
			if p.IsValid() {
				return ""
			}
			return "must be an IP address or a range such as 10.0.0.0/8"
		})
	case []Secret:
		return checkSecrets(v)
	case []string:
		return checkEntries(v, check) // every list of texts has one
	case DSN:
		return check(string(v))
	case string:
		switch {
		case s.oneof != nil && !slices.Contains(s.oneof, v):
			return s.want()
		case check != nil:
			return check(v)
		}
	}
	return ""
}

// checkEntries says what is wrong with the entries of a list, each thing once.
func checkEntries[T any](list []T, check func(T) string) string {
	var wrongs []string
	entries := map[string][]string{} // that are wrong so
	for i, entry := range list {
		wrong := check(entry)
		if wrong == "" {
			continue
		}
		if entries[wrong] == nil {
			wrongs = append(wrongs, wrong)
		}
		entries[wrong] = append(entries[wrong], strconv.Itoa(i+1))
	}
	for i, wrong := range wrongs {
		word := "entry "
		if len(entries[wrong]) > 1 {
			word = "entries "
		}
		wrongs[i] = word + strings.Join(entries[wrong], ", ") + " " + wrong
	}
	return strings.Join(wrongs, "; ")
}

func checkSecrets(secrets []Secret) string {
	for i, s := range secrets {
		if len(s.Bytes()) < 32 {
			return fmt.Sprintf("entry %d must be at least 32 random bytes in base64url; %s", i+1, howToMakeSecret)
		}
		for j, other := range secrets[:i] {
			if bytes.Equal(s.Bytes(), other.Bytes()) {
				return fmt.Sprintf("entries %d and %d are the same: remove one", j+1, i+1)
			}
		}
	}
	return ""
}

// checkMade says which of the secrets production refuses, or "".
func checkMade(secrets []Secret) string {
	for i, s := range secrets {
		if looksMade(s.Bytes()) {
			return fmt.Sprintf("entry %d is not random, or was published, and production refuses it; %s", i+1, howToMakeSecret)
		}
	}
	return ""
}

// looksMade reports whether a person rather than a random generator made b, or others
// know it: it repeats itself or counts, it is readable, or its base64url is. It is wrong about
// fewer than one in ten million random secrets of 32 bytes.
func looksMade(b []byte) bool {
	distinct, counting, readable := make(map[byte]bool), true, true
	for i, c := range b {
		distinct[c] = true
		counting = counting && (i == 0 || c-b[i-1] == b[1]-b[0])
		readable = readable && (c >= ' ' && c < 0x7f || c == '\n')
	}
	if len(distinct) < 16 || counting || readable {
		return true
	}
	text := base64.RawURLEncoding.EncodeToString(b)
	if slices.Contains(publishedSecrets, text) {
		return true
	}
	text = strings.ToLower(text)
	return slices.ContainsFunc([]string{"change-me", "change_me", "changeme", "example", "insecure", "password", "secret", "latchkey"},
		func(word string) bool { return strings.Contains(text, word) })
}

// publishedSecrets are random, and were to be read in this project's repository.
var publishedSecrets = []string{
	"O6Zu8HWLdguZrUAoMyrCBVgcCkt6CpRVuYURrFJPndg", "q1Lr3zX0Yf8hJm5tVb7nKc2wSd4gUe6iOa9pTxZyRlE", "Zk8vQw2eRt6yUi1oPa5sDf9gHj3kLzXcVb7nMm4qWx0",
}

func checkAddr(s string) string {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "must be HOST:PORT, such as 127.0.0.1:9000 or :9000"
	}
	return ""
}

func checkPublicURL(s string) string {
	if s == "" || web.IsOrigin(strings.TrimSuffix(s, "/")) {
		return ""
	}
	return "must be http:// or https:// and a host in lower case, without path, query or user, such as https://id.example.com"
}

func checkOrigin(s string) string {
	if web.IsOrigin(s) {
		return ""
	}
	return "must be one origin exactly as browsers write it, such as https://shop.example.com " +
		"(lower case, no path, no slash at the end, no default port, no *)"
}

func checkCallbackURL(s string) string {
	if web.IsCallbackURL(s) {
		return ""
	}
	return "must be one address exactly as the application asks for it, such as https://shop.example.com/callback " +
		"(the host in lower case, no user, no #, no *, and no code, state, iss or error in its query)"
}

func checkDSN(s string) string {
	d := DSN(s)
	path, isSQLite := d.SQLitePath()
	switch {
	case s == "":
		return ""
	case isSQLite && path == "":
		return "sqlite: must be followed by the path of a file"
	case isSQLite && strings.Contains(path, ":memory:"):
		return "must be a file: several connections cannot share a database in memory"
	case isSQLite:
		return ""
	case !d.Postgres():
		return "must be empty, sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE"
	}
	if u, err := url.Parse(s); err != nil || u.Fragment != "" {
		return "is not a valid postgres:// address: percent-encode special characters in user and password"
	}
	return ""
}

func checkNotEmpty(s string) string {
	if s == "" {
		return "must not be empty"
	}
	return ""
}

func checkProvider(id string) string {
	if !providerSyntax.MatchString(id) || slices.Contains(reservedProviders, id) {
		return "must be the id of a provider, such as emailpass"
	}
	return ""
}

func checkDomain(domain string) string {
	if _, err := auth.CanonicalEmail("somebody@" + domain); err != nil {
		return "must be a domain, such as example.com; an international one in its xn-- form, such as xn--bcher-kva.example"
	}
	return ""
}

func checkContextWord(word string) string {
	if n := utf8.RuneCountInString(word); n < 4 || !utf8.ValidString(word) {
		return "must have four characters or more: shorter words are part of too many others"
	}
	return ""
}

func checkBreachURL(s string) string {
	if _, err := auth.NewRangeChecker(s); err != nil {
		return "must be an https:// address that ends in /, without user and query, to which five digits are appended; http:// on this machine alone"
	}
	return ""
}

func checkRole(role string) string {
	if role == "" || strings.ContainsFunc(role, func(r rune) bool { return r <= ' ' || r == ',' || r == 0x7f }) {
		return "must be the name of a role, without spaces and commas"
	}
	return ""
}

func checkPermission(name string) string {
	if known := httpapi.Permissions(); !slices.Contains(known, name) {
		return "must be one of " + strings.Join(known, ", ")
	}
	return ""
}

func checkFrom(s string) string {
	if _, err := netmail.ParseAddress(s); err != nil || strings.ContainsAny(s, "\r\n") {
		return "must be an address, such as Latchkey <latchkey@example.com>"
	}
	return ""
}

func checkName(s string) string {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "must be one line, such as Example"
	}
	return ""
}

func checkSMTPHost(s string) string {
	if _, err := netip.ParseAddr(s); err != nil && strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || strings.ContainsRune(":/@[]", r) }) {
		return "must be the name of a host or an IP address, such as smtp.example.com; the port is mail.smtp.port"
	}
	return ""
}

// listensOnLoopback reports whether only this machine can reach the address.
func listensOnLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && mail.IsLoopback(host)
}
