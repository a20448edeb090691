// Package oauth is what every provider of OAuth 2.0 has in common, for who writes one: the authorization code flow with PKCE
// and what may go wrong in it. A provider says where its vendor is, and what it makes of what the vendor tells about somebody;
// docs/write-a-provider.md is a whole one. For a vendor that speaks OpenID Connect nobody writes any: package oidc has it.
//
//	Client.Begin    where to send the caller, and what is kept of it
//	Client.Finish   the code that they come back with, as a Grant
//	Grant.Get       what the vendor tells of them: an ID above all
//
// Vendors are asked by package outward's rules: https, certificates, public addresses, no redirect. A request takes five seconds
// at most, and no more than a megabyte is read. No error holds a secret, or repeats what came back but for what a vendor says of
// a client that it refuses: see Refusal.
package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/outward"
)

// What a vendor may cost.
const (
	requestTimeout = 5 * time.Second
	maxAnswer      = 1 << 20 // bytes
	maxCode        = 4 << 10 // bytes of an authorization code
)

// Config is a vendor, and what this application is there. AuthURL, TokenURL and ClientID must be set. A setting that an address is made of
// is best read with the tag https, or url where there are PrivateAddresses (auth.Settings): then what is wrong with it is said of the setting.
type Config struct {
	AuthURL, TokenURL      string
	ClientID, ClientSecret string
	Scopes                 []string

	// Issuer is what the vendor calls itself in the answer, as "iss" (RFC 9207); empty: it does not.
	Issuer string

	// SecretInBody sends the client's id and secret in the body, for vendors that do not take HTTP Basic.
	SecretInBody bool

	// PrivateAddresses lets the vendor be in one's own network, and be spoken to by http.
	PrivateAddresses bool
}

// Client is the vendor's client. It is safe for concurrent use.
type Client struct {
	config Config
	oauth  oauth2.Config
	http   *http.Client
}

// New returns the client. It asks nobody.
func New(c Config) (*Client, error) {
	o := outward.Options{PrivateAddresses: c.PrivateAddresses}
	for name, address := range map[string]string{"AuthURL": c.AuthURL, "TokenURL": c.TokenURL} {
		if err := outward.CheckURL(address, o); err != nil {
			return nil, fmt.Errorf("oauth: %s %w", name, err)
		}
	}
	if c.ClientID == "" {
		return nil, errors.New("oauth: ClientID must be set")
	}
	c.Scopes = slices.Clone(c.Scopes)
	style := oauth2.AuthStyleInHeader // never by trying: a code that is brought twice is void
	if c.SecretInBody || c.ClientSecret == "" {
		style = oauth2.AuthStyleInParams
	}
	client := &Client{config: c, http: outward.NewClient(o), oauth: oauth2.Config{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret, Scopes: c.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: c.AuthURL, TokenURL: c.TokenURL, AuthStyle: style},
	}}
	client.http.Timeout = requestTimeout
	return client, nil
}

// String names the client and nothing else: it holds the secret.
func (c *Client) String() string { return "OAuth client " + c.config.ClientID }

// GoString is String.
func (c *Client) GoString() string { return c.String() }

// kept is what lasts between the two steps.
type kept struct {
	Verifier string `json:"verifier"` // of PKCE
	Callback string `json:"callback"`
}

// Begin is a provider's Begin: it sends the caller to the vendor.
func (c *Client) Begin(a auth.Attempt) (auth.Challenge, error) {
	if a.FlowID == "" {
		return auth.Challenge{}, errors.New("oauth: Begin needs the attempt of a flow")
	}
	k := kept{oauth2.GenerateVerifier(), a.CallbackURL}
	state, err := json.Marshal(k)
	if err != nil {
		return auth.Challenge{}, err
	}
	return auth.Challenge{RedirectURL: c.at(k).AuthCodeURL(a.FlowID, oauth2.S256ChallengeOption(k.Verifier)), State: state}, nil
}

// at is the client with an address to come back to.
func (c *Client) at(k kept) *oauth2.Config {
	o := c.oauth
	o.RedirectURL = k.Callback
	return &o
}

// Finish is the first half of a provider's Finish: it exchanges the code with which somebody comes back for the right to ask who
// they are. auth.ErrInvalidCredentials: the code is none of this flow. auth.ErrProviderUnavailable: the vendor does not answer,
// or not as it should; the reason is in the error, which auth.Service logs.
func (c *Client) Finish(ctx context.Context, a auth.Attempt) (*Grant, error) {
	var in struct {
		Code   *string `json:"code"`
		Issuer string  `json:"iss"`
		Error  *string `json:"error"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return nil, err
	}
	var k kept
	switch err := json.Unmarshal(a.State, &k); {
	case err != nil || k.Verifier == "": // begun by another program
		return nil, auth.ErrInvalidCredentials
	case in.Error != nil || c.config.Issuer != "" && in.Issuer != c.config.Issuer: // which another vendor may have sent
		return nil, auth.ErrInvalidCredentials
	case in.Code == nil:
		return nil, auth.ErrInput
	case *in.Code == "" || len(*in.Code) > maxCode:
		return nil, auth.ErrInvalidCredentials
	}
	token, err := c.at(k).Exchange(context.WithValue(ctx, oauth2.HTTPClient, c.http), *in.Code, oauth2.VerifierOption(k.Verifier))
	var answer *oauth2.RetrieveError // whose text repeats all that came back
	var asking *url.Error
	switch {
	case err == nil:
		return &Grant{c.http, token}, nil
	case errors.As(err, &answer) && slices.Contains(refusals, answer.ErrorCode):
		return nil, auth.ErrInvalidCredentials
	case errors.As(err, &answer):
		return nil, failed(ctx, "the token endpoint", c.refused(answer, *in.Code, k.Verifier))
	case errors.As(err, &asking):
		return nil, failed(ctx, "the token endpoint", errors.New(outward.Explain(err)))
	default:
		return nil, failed(ctx, "the token endpoint", errNoJSON)
	}
}

// refusals are how vendors say that a code is none, was used, or is of another client or flow: OAuth's word, and GitHub's.
var refusals = []string{"invalid_grant", "bad_verification_code"}

var errNoJSON = errors.New("it answers something else than JSON, or too much")

// refused is why a token endpoint refuses us.
func (c *Client) refused(answer *oauth2.RetrieveError, secrets ...string) error {
	why := fmt.Sprintf("it answers %d", answer.Response.StatusCode)
	if said := Refusal(answer.ErrorCode, answer.ErrorDescription, append(secrets, c.config.ClientSecret)...); said != "" {
		why += ", " + said
	}
	return errors.New(why)
}

// failed is the error about a vendor that does not do its part.
func failed(ctx context.Context, asked string, why error) error {
	if ctx.Err() != nil {
		return ctx.Err() // it is the caller who has gone
	}
	return fmt.Errorf("%w: ask %s: %w", auth.ErrProviderUnavailable, asked, why)
}

// Grant is the right to ask the vendor about who has signed in.
type Grant struct {
	client *http.Client
	token  *oauth2.Token
}

// String says nothing: a grant holds a token.
func (g *Grant) String() string { return "OAuth grant" }

// GoString is String.
func (g *Grant) GoString() string { return g.String() }

// Get asks an address of the vendor and reads the JSON there into a struct; members it has no field for are ignored, and one that
// is null leaves its field as it is. JSON that two readers could read differently is none. What says who it is, is best an ID. auth.ErrProviderUnavailable: as at Finish.
func (g *Grant) Get(ctx context.Context, address string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errors.New("oauth: the address to ask is none")
	}
	r.Header.Set("Accept", "application/json")
	g.token.SetAuthHeader(r)
	asked := r.URL.Path
	rsp, err := g.client.Do(r)
	if err != nil {
		return failed(ctx, asked, errors.New(outward.Explain(err)))
	}
	defer rsp.Body.Close()
	if rsp.StatusCode != http.StatusOK {
		return failed(ctx, asked, fmt.Errorf("it answers %d", rsp.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(rsp.Body, maxAnswer+1))
	var all any
	switch {
	case err != nil:
		return failed(ctx, asked, errors.New(outward.Explain(err)))
	case len(body) > maxAnswer, auth.Input(body).Decode(&all) != nil, json.Unmarshal(body, into) != nil:
		return failed(ctx, asked, errNoJSON) // which is not the caller's input, so neither is the fault
	}
	return nil
}

// ID is what a vendor calls somebody for good: a text, or a whole number, of which no digit is lost. One that is not there is
// empty, which auth.Service takes for nobody.
type ID string

var number = regexp.MustCompile(`^[0-9]{1,20}$`)

// UnmarshalJSON reads either.
func (id *ID) UnmarshalJSON(data []byte) error {
	if number.Match(data) {
		*id = ID(data)
		return nil
	}
	return json.Unmarshal(data, (*string)(id))
}
