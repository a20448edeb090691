package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/oauth"
	"github.com/latchkey-go/latchkey/modules/kernel/outward"
)

// account is somebody at GitHub.
type account struct {
	ID        int64   `json:"id"`
	Login     *string `json:"login"` // which they can change
	Name      *string `json:"name"`
	Email     *string `json:"email"` // of the public profile; null if they do not show one
	AvatarURL *string `json:"avatar_url"`
}

// address is one of somebody's.
type address struct {
	Email    string `json:"email"`
	Primary  bool   `json:"primary"`
	Verified bool   `json:"verified"`
}

// Errors by which GitHub refuses a code (by status 200), and those by which it refuses us.
var (
	codeErrors = []string{"bad_verification_code", "invalid_grant"}
	ourErrors  = []string{"incorrect_client_credentials", "redirect_uri_mismatch", "application_suspended", "unsupported_grant_type", "invalid_client", "unauthorized_client", "invalid_request"}
)

const errUnverified = "unverified_user_email"

var errVerifyThere = auth.ErrInvalidCredentials.Msg("GitHub lets nobody sign in elsewhere who has not verified their address there. Do that, then start again.")

// text is what is there, or empty for null.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// exchange gets an access token for a code.
func (p *Provider) exchange(ctx context.Context, k kept, code string) (string, error) {
	form := url.Values{
		"client_id": {p.config.ClientID}, "client_secret": {p.config.ClientSecret}, "code": {code},
		"redirect_uri": {k.Callback}, "code_verifier": {k.Verifier},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.config.URL+"/login/oauth/access_token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json") // or it answers with a form
	var answer struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if _, err := p.ask(r, &answer); err != nil {
		return "", p.failed(ctx, "access_token", err)
	}
	switch {
	case answer.Error == errUnverified:
		return "", errVerifyThere
	case slices.Contains(codeErrors, answer.Error):
		return "", auth.ErrInvalidCredentials
	case slices.Contains(ourErrors, answer.Error):
		return "", p.failed(ctx, "access_token", fmt.Errorf("%w: %s", errAnswer,
			oauth.Refusal(answer.Error, answer.Description, p.config.ClientSecret, code, k.Verifier)))
	case answer.Error != "": // GitHub lists no error for a verifier that is not of the code, and may add others
		p.log.Warn("GitHub refuses a code by an error that is not known here", "error", plain(answer.Error))
		return "", auth.ErrInvalidCredentials
	case answer.AccessToken == "" || !printable(answer.AccessToken) || !strings.EqualFold(answer.TokenType, "bearer"):
		return "", p.failed(ctx, "access_token", fmt.Errorf("%w: no token", errAnswer))
	}
	return answer.AccessToken, nil
}

// account asks whose a token is.
func (p *Provider) account(ctx context.Context, token string) (who account, err error) {
	if _, err := p.get(ctx, "/user", token, &who); err != nil {
		return account{}, p.failed(ctx, "user", err)
	}
	if who.ID < 1 {
		return account{}, p.failed(ctx, "user", fmt.Errorf("%w: no account", errAnswer))
	}
	return who, nil
}

// addresses asks for somebody's addresses. There are none if the token may not see them.
func (p *Provider) addresses(ctx context.Context, token string) (all []address, err error) {
	status, err := p.get(ctx, "/user/emails?per_page=100", token, &all)
	if (status == http.StatusForbidden || status == http.StatusNotFound) && !errors.As(err, new(limited)) {
		return nil, nil
	}
	if err != nil {
		return nil, p.failed(ctx, "user/emails", err)
	}
	return all, nil
}

// get asks the API as whoever has the token.
func (p *Provider) get(ctx context.Context, path, token string, into any) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.config.api()+path, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("Authorization", "Bearer "+token)
	return p.ask(r, into)
}

// errAnswer is that of a GitHub that answers, and not as it should.
var errAnswer = errors.New("it answers something else")

// limited says that we have asked GitHub for too much, and how long it wants to be left alone.
type limited struct{ wait time.Duration }

func (l limited) Error() string { return "it has been asked too often" }

// ask sends a request and reads what comes back, a JSON value that no two readers can read differently. Its error repeats nothing
// of that.
func (p *Provider) ask(r *http.Request, into any) (status int, err error) {
	r.Header.Set("User-Agent", "latchkey") // GitHub wants one
	rsp, err := p.client.Do(r)
	if err != nil {
		return 0, why(err)
	}
	defer rsp.Body.Close()
	if rsp.StatusCode != http.StatusOK {
		if wait, ok := rateLimit(rsp); ok {
			return rsp.StatusCode, limited{wait}
		}
		return rsp.StatusCode, fmt.Errorf("%w: status %d", errAnswer, rsp.StatusCode)
	}
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		return rsp.StatusCode, why(err)
	}
	if auth.Input(body).Decode(into) != nil {
		return rsp.StatusCode, fmt.Errorf("%w: not the JSON of its documentation", errAnswer)
	}
	return rsp.StatusCode, nil
}

// maxWait is the longest that GitHub can have people wait: its limits are for an hour.
const maxWait = time.Hour

// rateLimit reports whether an answer says that there were too many requests, and when they pass again.
func rateLimit(rsp *http.Response) (time.Duration, bool) {
	after, reset := rsp.Header.Get("Retry-After"), rsp.Header.Get("X-RateLimit-Reset")
	if rsp.StatusCode != http.StatusTooManyRequests && (rsp.StatusCode != http.StatusForbidden || after == "" && rsp.Header.Get("X-RateLimit-Remaining") != "0") {
		return 0, false
	}
	wait := time.Minute // what GitHub asks for if it says nothing
	if n, err := strconv.Atoi(after); err == nil && n >= 0 && n <= int(maxWait/time.Second) {
		wait = time.Duration(n) * time.Second
	} else if at, err := strconv.ParseInt(reset, 10, 64); err == nil && after == "" {
		wait = time.Until(time.Unix(at, 0))
	}
	return min(max(wait.Round(time.Second), time.Second), maxWait), true
}

// why says in our own words why a request came to nothing.
func why(err error) error {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return fmt.Errorf("%w: more than %d bytes", errAnswer, maxAnswer)
	case errors.Is(err, outward.ErrNotJSON):
		return fmt.Errorf("%w: not JSON", errAnswer)
	}
	return errors.New(outward.Explain(err))
}

// plain is an error of GitHub as a log may have it.
func plain(code string) string {
	if len(code) > 40 || strings.ContainsFunc(code, func(r rune) bool { return (r < 'a' || r > 'z') && r != '_' }) {
		return "another"
	}
	return code
}

// failed is the answer to who meets with a GitHub that fails: it does not answer, or not as it should.
func (p *Provider) failed(ctx context.Context, endpoint string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err() // it is the caller who has gone
	}
	p.log.Warn("somebody could not sign in, because GitHub fails", "endpoint", endpoint, "error", err)
	var l limited
	if errors.As(err, &l) {
		return auth.ErrProviderUnavailable.After(l.wait) // it answers, and others may be let in
	}
	p.suspect()
	return auth.ErrProviderUnavailable
}
