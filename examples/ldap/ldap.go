// Package ldap lets people sign in with the name and the password that a directory knows them by (OpenLDAP, 389, Active Directory):
// the directory is asked who has the name, and then takes the password or does not (a bind). Any number of directories, each by a
// section that says type: ldap.
//
//	ldap.go     the provider      config.go   its settings      conn.go   a connection, by TLS and for a while alone
//
// The entity id is what the directory itself calls the entry for good (entryUUID, objectGUID): names, addresses and places in the tree
// change, and are given to the next. An address is vouched for in the domains alone that the directory is trusted with.
//
// A directory that does not answer, or not as it should, is not the caller's fault: auth.ErrProviderUnavailable, with the reason in the log.
package ldap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"unicode"

	goldap "github.com/go-ldap/ldap/v3"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// What is sent to a directory is no longer than this, in bytes.
const (
	maxUsername = 256
	maxPassword = 1024
)

// Provider is one directory. It is safe for concurrent use.
type Provider struct {
	id     string
	config Config
	dialer dialer
}

var _ interface {
	auth.Authenticator
	auth.Describer
} = (*Provider)(nil)

// Type makes a provider of each section that says type: ldap.
func Type() auth.ProviderType {
	return auth.ProviderType{Name: "ldap", New: func(id string, settings auth.Settings) (auth.Provider, error) {
		c, err := read(id, settings)
		if err != nil {
			return nil, err
		}
		return New(id, c)
	}}
}

// New returns the provider of that id. It asks nobody.
func New(id string, c Config) (*Provider, error) {
	c, d, err := c.checked(id)
	if err != nil {
		return nil, err
	}
	return &Provider{id, c, d}, nil
}

// Name returns the provider's id.
func (p *Provider) Name() string { return p.id }

// DisplayName says how the provider is shown.
func (p *Provider) DisplayName() string { return p.config.DisplayName }

// String names the provider and nothing else: it holds a password.
func (p *Provider) String() string { return "provider " + p.id }

// GoString is String.
func (p *Provider) GoString() string { return p.String() }

// LogValue is String, for slog.
func (p *Provider) LogValue() slog.Value { return slog.StringValue(p.String()) }

// Authenticate asserts who has the input's "username", and whose "password" the directory takes. Unknown names and wrong passwords get
// the same answer, after a bind each.
func (p *Provider) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	tooLong := len(in.Username) > maxUsername || len(in.Password) > maxPassword
	if tooLong || in.Password == "" || strings.TrimSpace(in.Username) == "" { // a bind without a password succeeds, and proves nothing (RFC 4513, 5.1.2)
		if _, err := a.Secret(ctx, ""); err != nil { // nobody's
			return auth.Assertion{}, err
		}
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	conn, err := p.dialer.dial(ctx)
	if err != nil {
		return auth.Assertion{}, p.failed(ctx, "connect", err)
	}
	defer conn.Close()
	entry, err := p.prove(ctx, conn, a, in.Username, in.Password)
	if err != nil {
		return auth.Assertion{}, err
	}
	found, err := p.assertion(entry)
	if err == nil && a.EntityID != "" && found.EntityID != a.EntityID {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	return found, err
}

// prove returns the entry of whoever has the name, if the password is theirs.
func (p *Provider) prove(ctx context.Context, conn *goldap.Conn, a auth.Attempt, username, password string) (*goldap.Entry, error) {
	if p.config.UserDN != "" {
		dn := strings.ReplaceAll(p.config.UserDN, placeholder, goldap.EscapeDN(username))
		if err := p.bind(ctx, conn, a, spelling(username), dn, password); err != nil {
			return nil, err
		}
		return p.find(ctx, conn, dn, goldap.ScopeBaseObject, username)
	}
	if p.config.BindDN != "" {
		if err := conn.Bind(p.config.BindDN, p.config.BindPassword); err != nil {
			return nil, p.failed(ctx, "bind as "+p.config.BindDN, err)
		}
	}
	entry, err := p.find(ctx, conn, p.config.BaseDN, goldap.ScopeWholeSubtree, username)
	switch {
	case errors.Is(err, auth.ErrInvalidCredentials): // nobody; who asks must wait for that as long as for a wrong password
		if err := p.bind(ctx, conn, a, spelling(username), "cn=nobody,"+p.config.BaseDN, password); err != nil {
			return nil, err
		}
		return nil, auth.ErrInvalidCredentials
	case err != nil:
		return nil, err
	}
	id, err := p.idOf(entry)
	if err == nil && entry.DN == "" { // as whom anybody may bind
		err = fmt.Errorf("%w: an entry has no name", auth.ErrProviderUnavailable)
	}
	if err != nil {
		return nil, err
	}
	return entry, p.bind(ctx, conn, a, id, entry.DN, password)
}

// find returns the one entry that has the name.
func (p *Provider) find(ctx context.Context, conn *goldap.Conn, base string, scope int, username string) (*goldap.Entry, error) {
	c := p.config
	filter := fmt.Sprintf("(&%s(%s=%s))", c.Filter, c.UsernameAttribute, goldap.EscapeFilter(username))
	rsp, err := conn.Search(&goldap.SearchRequest{
		BaseDN: base, Scope: scope, DerefAliases: goldap.NeverDerefAliases, SizeLimit: 2, TimeLimit: int(c.Timeout.Seconds()), EnforceSizeLimit: true,
		Filter: filter, Attributes: []string{c.IDAttribute, c.UsernameAttribute, c.EmailAttribute, c.NameAttribute, c.FirstNameAttribute, c.LastNameAttribute},
	})
	many := errors.Is(err, goldap.ErrSizeLimitExceeded) || goldap.IsErrorWithCode(err, goldap.LDAPResultSizeLimitExceeded)
	switch {
	case err != nil && !many: // a referral, too: whom it names knows nobody's password from us
		return nil, p.failed(ctx, "search", err)
	case many || len(rsp.Entries) != 1:
		return nil, auth.ErrInvalidCredentials
	}
	return rsp.Entries[0], nil
}

// wrong are the results by which a directory says that a name and a password do not let anybody in: wrong, locked, expired, without a
// password, no such entry or none that could be.
var wrong = []uint16{
	goldap.LDAPResultInvalidCredentials, goldap.LDAPResultInappropriateAuthentication, goldap.LDAPResultUnwillingToPerform,
	goldap.LDAPResultConstraintViolation, goldap.LDAPResultNoSuchObject, goldap.LDAPResultInvalidDNSyntax, goldap.LDAPResultInsufficientAccessRights,
}

// bind has the directory look at a password. That counts as a guess at the account first.
func (p *Provider) bind(ctx context.Context, conn *goldap.Conn, a auth.Attempt, account, dn, password string) error {
	if _, err := a.Secret(ctx, account); err != nil {
		return err
	}
	switch err := conn.Bind(dn, password); {
	case err == nil:
		return nil
	case goldap.IsErrorAnyOf(err, wrong...):
		return auth.ErrInvalidCredentials
	default:
		return p.failed(ctx, "bind", err)
	}
}

// spelling is the one of a name that is nobody's, or not known to be anybody's yet, by which guesses are counted: directories
// do not look at case, blanks, width and what cannot be seen (RFC 4518).
func spelling(username string) string {
	shown := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r) || unicode.IsControl(r) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}, norm.NFKC.String(username))
	return strings.Join(strings.Fields(norm.NFKC.String(cases.Fold().String(shown))), " ")
}

// assertion is what is made of an entry whose password was right.
func (p *Provider) assertion(entry *goldap.Entry) (auth.Assertion, error) {
	id, err := p.idOf(entry)
	if err != nil {
		return auth.Assertion{}, err
	}
	value := func(attribute string) string {
		all := entry.GetEqualFoldAttributeValues(attribute)
		if len(all) == 0 {
			return ""
		}
		return slices.Min(all) // they are in no order; tomorrow it is to be the same
	}
	c := p.config
	profile := auth.Profile{Email: value(c.EmailAttribute), Name: value(c.NameAttribute), FirstName: value(c.FirstNameAttribute), LastName: value(c.LastNameAttribute)}
	profile.EmailVerified = c.trusts(profile.Email)
	return auth.Assertion{EntityID: id, Profile: profile}, nil
}

// idOf is what the directory calls the entry for good.
func (p *Provider) idOf(entry *goldap.Entry) (string, error) {
	ids := entry.GetEqualFoldRawAttributeValues(p.config.IDAttribute)
	switch {
	case len(ids) != 1 || len(ids[0]) == 0:
		return "", fmt.Errorf("%w: an entry has not one %s: whoever searches may not read it, or it is another attribute there", auth.ErrProviderUnavailable, p.config.IDAttribute)
	case strings.EqualFold(p.config.IDAttribute, "objectGUID") && len(ids[0]) == 16: // bytes, as Active Directory writes them
		g := ids[0]
		return fmt.Sprintf("%x-%x-%x-%x-%x", []byte{g[3], g[2], g[1], g[0]}, []byte{g[5], g[4]}, []byte{g[7], g[6]}, g[8:10], g[10:]), nil
	}
	return strings.ToLower(string(ids[0])), nil
}

// failed is the error about a directory that does not do its part. It repeats the directory's words, in which there is no password.
func (p *Provider) failed(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err() // it is the caller who has gone
	}
	return fmt.Errorf("%w: %s: %w", auth.ErrProviderUnavailable, what, err)
}
