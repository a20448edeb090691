package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// CodeDigits is how many digits a mailed code has.
const CodeDigits = 6

// Mailings have something mailed to an address that comes back from who reads it there, for providers that prove by that. What
// is mailed is kept nowhere: it derives from the name of the request and a key, when it is sent and when it comes back. It is
// safe for concurrent use.
type Mailings struct{ keys *keyring.Ring }

// NewMailings returns mailings under the keys.
func NewMailings(keys *keyring.Ring) *Mailings { return &Mailings{keys} }

// Mailing is a mail that a Challenge asks for. Only Mailings make one.
type Mailing struct{ mailed mailed }

// mailed is what is kept of a request until it is answered: nothing that answers it.
type mailed struct {
	ID        string    `json:"id"`
	Key       string    `json:"key"`
	Email     string    `json:"email"`
	Code      bool      `json:"code,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
	Flow      string    `json:"flow"` // its id: who opens the link in the right browser is brought back to it
}

// Link has a link mailed to the address, which must be canonical, for the flow that the attempt begins. The challenge lacks its
// RedirectURL only.
func (m *Mailings) Link(a Attempt, address string, ttl time.Duration) (Challenge, error) {
	return m.ask(a, mailed{Email: address, ExpiresAt: database.Now().Add(ttl)})
}

// Code has a code of CodeDigits mailed instead. So few can be guessed: who uses it is a Retrier of a few tries, and asks
// Attempt.Secret before each.
func (m *Mailings) Code(a Attempt, address string, ttl time.Duration) (Challenge, error) {
	return m.ask(a, mailed{Email: address, Code: true, ExpiresAt: database.Now().Add(ttl)})
}

func (m *Mailings) ask(a Attempt, r mailed) (Challenge, error) {
	key := m.keys.Keys(keyring.SignInMail)[0]
	r.ID, r.Key, r.Flow = id.New("signinmail"), key.ID, a.FlowID
	state, err := json.Marshal(r)
	return Challenge{State: state, Mail: &Mailing{r}}, err
}

// Mailed is what a state says that was handed back by a Challenge of Mailings.
type Mailed struct {
	Email     string // where it was to go, canonical
	Code      bool   // it is a code; else a link
	ExpiresAt time.Time

	keys *keyring.Ring
	of   mailed
}

// Read reads the state.
func (m *Mailings) Read(state []byte) (Mailed, error) {
	var r mailed
	if err := json.Unmarshal(state, &r); err != nil || r.ID == "" {
		return Mailed{}, errors.New("auth: the state is none of a mailing")
	}
	return r.open(m.keys), nil
}

func (r mailed) open(keys *keyring.Ring) Mailed {
	return Mailed{Email: r.Email, Code: r.Code, ExpiresAt: r.ExpiresAt, keys: keys, of: r}
}

// Request is what has it mailed, as the Service announces it when the flow begins.
func (m Mailed) Request(provider string) SignInMailRequested {
	sends := "token"
	if m.Code {
		sends = "code"
	}
	return SignInMailRequested{
		ID: m.of.ID, Key: m.of.Key, Provider: provider, EntityID: m.Email, EntityType: "email", CodeProvider: sends, ExpiresAt: m.ExpiresAt,
	}
}

// Proves reports whether the answer is what was mailed, the token of the link or the code, and still good. Who types a code may
// set its digits apart.
func (m Mailed) Proves(answer string) bool {
	key, ok := m.keys.Named(keyring.SignInMail, m.of.Key)
	switch {
	case !ok || !m.ExpiresAt.After(time.Now()):
		return false
	case m.Code:
		typed := strings.NewReplacer(" ", "", "-", "", "\u00a0", "").Replace(answer)
		return subtle.ConstantTimeCompare([]byte(typed), []byte(codeOf(key, m.of.ID))) == 1
	}
	c, ok := parseSignInMail(m.keys, answer)
	return ok && c.Email == m.Email && subtle.ConstantTimeCompare([]byte(c.ID), []byte(jtiOf(key, m.of.ID))) == 1
}

// codeOf is the code of a request.
func codeOf(key keyring.Key, request string) string {
	m := hmac.New(sha256.New, key.Bytes)
	m.Write([]byte("code\x00" + request))
	return fmt.Sprintf("%0*d", CodeDigits, binary.BigEndian.Uint64(m.Sum(nil))%1_000_000)
}

// mail counts the mail and announces it: first from where the client is, so that nobody uses up alone what its owner may need
// from elsewhere. If it adds a way to sign in, by the session, it says to which account: nobody lends their mailbox to a stranger's.
func (s *Service) mail(ctx context.Context, provider, actorType string, session SessionID, m *Mailing) error {
	c := clientOf(ctx)
	if err := s.takeByPlace(ctx, limitSignInAsk); err != nil {
		return err
	}
	mailbox := mailboxOf(m.mailed.Email)
	if err := s.take(ctx, limitSignInMail.bucket(mailbox, network(c.IP))); err != nil {
		return err
	}
	if err := s.Take(ctx, limitSignInMailAll, mailbox); err != nil {
		return err
	}
	e := m.mailed.open(nil).Request(provider)
	e.ActorType, e.IP, e.UserAgent, e.At = actorType, clip(c.IP, 64), clip(c.UserAgent, 256), database.Now()
	if c.Shared { // as in a notice
		e.IP = ""
	}
	if e.Adds = session != ""; e.Adds {
		row, err := s.store.liveSession(ctx, "id", string(session))
		if err != nil {
			return err
		}
		if row == nil {
			return ErrFlow
		}
		account, err := s.Notice(ctx, row.AuthIdentityID, ProviderIdentity{})
		if err != nil {
			return err
		}
		e.Account = account.Email
	}
	return s.events.Emit(ctx, e)
}

// mailboxOf is the address of the mailbox that a canonical address most likely leads to: what is behind a plus sign is a label there
// (RFC 5233), of which one mailbox has any number. It is for counting mails; who somebody is does not hang on it.
func mailboxOf(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	if name, _, labelled := strings.Cut(local, "+"); labelled && name != "" {
		local = name
	}
	return local + "@" + domain
}

// SignInMail is what is mailed to who wants to sign in: a token or a code.
type SignInMail struct {
	Token     string // a JWT; empty: it is a code
	Code      string // empty: it is a token
	Email     string // where it goes
	ExpiresAt time.Time
}

// String says for whom it is, and hides it.
func (m SignInMail) String() string { return "what signs in " + m.Email }

// GoString is String.
func (m SignInMail) GoString() string { return m.String() }

// LogValue is String, for slog.
func (m SignInMail) LogValue() slog.Value { return slog.StringValue(m.String()) }

// CreateSignInMail makes what a request has mailed. It must go to the address by mail, and nowhere else: that somebody has it
// proves the mailbox, if they come back to the flow that it was asked for in. The same request gives the same again, so that a mail can be
// sent once more after a failure. ErrSignInMail: it would have expired.
func (s *Service) CreateSignInMail(_ context.Context, e SignInMailRequested) (SignInMail, error) {
	key, ok := s.keys.Named(keyring.SignInMail, e.Key)
	if !ok || !e.ExpiresAt.After(time.Now()) {
		return SignInMail{}, ErrSignInMail
	}
	m := SignInMail{Email: e.EntityID, ExpiresAt: database.UTC(e.ExpiresAt)}
	if e.CodeProvider == "code" {
		m.Code = codeOf(key, e.ID)
		return m, nil
	}
	var err error
	m.Token, err = signedBy(key, signInMailClaims{
		Email: e.EntityID, Use: useSignInMail,
		RegisteredClaims: jwt.RegisteredClaims{ID: jtiOf(key, e.ID), IssuedAt: jwt.NewNumericDate(e.At), ExpiresAt: jwt.NewNumericDate(e.ExpiresAt)},
	})
	return m, err
}

// MailedFlow is a flow of a provider that proves by mail, as who serves its page sees it.
type MailedFlow struct {
	ID          string // which the caller brings back as "state"
	Mailed             // the zero value: nothing was mailed yet, because nobody has said where to
	ActorType   string
	CallbackURL string // where the page sends the caller, with "state" and "code"
	Adds        bool   // it adds a way to sign in to who is signed in
}

// MailedFlow returns the provider's flow of the id, in the browser by what that keeps; empty: it keeps nothing. It uses up nothing.
// ErrFlow: there is none any more, or it was begun in another browser.
func (s *Service) MailedFlow(ctx context.Context, provider, flow, browser string) (MailedFlow, error) {
	row, err := s.mailedFlow(ctx, provider, flow, browser)
	if err != nil {
		return MailedFlow{}, err
	}
	return s.readMailed(flow, row), nil
}

func (s *Service) mailedFlow(ctx context.Context, provider, flow, browser string) (*flowRow, error) {
	rows, err := s.store.flows(ctx, provider, "id_hash", hashed(flow))
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 || !rows[0].ExpiresAt.After(time.Now()) || !rows[0].begunIn(browser) {
		return nil, ErrFlow
	}
	return &rows[0], nil
}

// begunIn reports whether who comes back with what their browser keeps may finish the flow, as takeFlow asks for it, or wait for its mail.
func (r *flowRow) begunIn(browser string) bool {
	if browser == "" {
		return r.Portable
	}
	return r.BrowserHash == hashed(browser) || r.BrowserHash == keptOnPage(browser)
}

// keptOnPage is how a browser is kept that has come to the page of a flow which was begun elsewhere. It shows the browser its mail; it
// does not have it finish the flow, which anybody may have sent it to.
func keptOnPage(browser string) string { return hashed("page\x00" + browser) }

func (s *Service) readMailed(flow string, row *flowRow) MailedFlow {
	f := MailedFlow{ID: flow, ActorType: row.ActorType, CallbackURL: row.CallbackURL, Adds: row.SessionID != ""}
	if m, ok := s.mailedOf(row); ok {
		f.Mailed = m
	}
	return f
}

// mailedOf returns what was mailed for the flow, and false if nothing was.
func (s *Service) mailedOf(row *flowRow) (Mailed, bool) {
	state, ok := s.stateOf(row)
	if !ok {
		return Mailed{}, false
	}
	m, err := NewMailings(s.keys).Read(state)
	return m, err == nil
}

// MailedFlowOf returns the flow for which the link with the token was mailed, if it was begun in the browser. It uses up nothing.
// ErrSignInMail: the token is none of ours, or has expired. ErrFlow, along with the address: it was begun in another browser, or is over.
func (s *Service) MailedFlowOf(ctx context.Context, provider, token, browser string) (MailedFlow, error) {
	c, ok := parseSignInMail(s.keys, token)
	if !ok {
		return MailedFlow{}, ErrSignInMail
	}
	elsewhere := MailedFlow{Mailed: Mailed{Email: c.Email, ExpiresAt: c.ExpiresAt.Time}}
	if browser == "" {
		return elsewhere, ErrFlow
	}
	var rows []flowRow
	for _, hash := range []string{hashed(browser), keptOnPage(browser)} {
		some, err := s.store.flows(ctx, provider, "browser_hash", hash)
		if err != nil {
			return MailedFlow{}, err
		}
		rows = append(rows, some...)
	}
	for _, row := range rows {
		if m, ok := s.mailedOf(&row); ok && row.ExpiresAt.After(time.Now()) && m.Proves(token) {
			return s.readMailed(m.of.Flow, &row), nil
		}
	}
	return elsewhere, ErrFlow
}

// KeepMailedFlow has the browser that has come to the page of a flow which whoever brings no secret may finish (Binding.Portable) keep the
// secret until then: so that a link which is opened there finds the flow. It does not have that browser finish it: the page may be a
// stranger's link. ErrFlow: there is none, or it is bound to a browser.
func (s *Service) KeepMailedFlow(ctx context.Context, provider, flow, browser string) (until time.Time, err error) {
	row, err := s.mailedFlow(ctx, provider, flow, "")
	if err != nil {
		return time.Time{}, err
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		there, err := s.store.keepFlow(ctx, row.IDHash, keptOnPage(browser))
		if err == nil && !there {
			err = ErrFlow
		}
		return err
	})
	return database.UTC(row.ExpiresAt), err
}

// MailAgain begins the provider's flow once more, with another input: another mail, and maybe to another address. What was mailed before
// is void, and the flow goes on until then: the browser must keep its secret as long. One that adds a way to sign in ends when it was to
// end, because what was proved again for it is not proved for longer. Errors are those of Begin, and ErrFlow as
// MailedFlow says it.
func (s *Service) MailAgain(ctx context.Context, provider, flow, browser string, in Input) (until time.Time, err error) {
	c, err := s.challenger(provider, "Redirect authentication")
	if err != nil {
		return time.Time{}, err
	}
	row, err := s.mailedFlow(ctx, provider, flow, browser)
	if err != nil {
		return time.Time{}, err
	}
	challenge, err := c.Begin(ctx, Attempt{Input: in, FlowID: flow, CallbackURL: row.CallbackURL})
	if err != nil {
		return time.Time{}, err
	}
	if challenge.Mail == nil {
		return time.Time{}, ErrInput
	}
	s.keepState(row, challenge.State)
	if row.SessionID == "" {
		row.ExpiresAt = database.Now().Add(flowTTL)
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if there, err := s.store.beginFlowAgain(ctx, row); err != nil {
			return err
		} else if !there {
			return ErrFlow
		}
		return s.mail(ctx, provider, row.ActorType, row.SessionID, challenge.Mail)
	})
	if err != nil {
		return time.Time{}, err
	}
	return database.UTC(row.ExpiresAt), nil
}

// TryMailed tells who types a code into the page whether it is the one, before the page sends them back with it. It counts as a try
// of the flow and at the account, as at Finish, unless it is right, and uses up nothing then. ErrInvalidCredentials: it is not.
// ErrFlow: it is not, and was the last try; or as MailedFlow says it.
func (s *Service) TryMailed(ctx context.Context, provider, flow, browser, answer string) error {
	p, err := s.provider(provider)
	if err != nil {
		return err
	}
	retrier, ok := p.(Retrier)
	if !ok {
		return notSupported(SignIn, provider)
	}
	row, err := s.mailedFlow(ctx, provider, flow, browser)
	if err != nil {
		return err
	}
	m, ok := s.mailedOf(row)
	if !ok { // nothing was mailed yet
		return ErrFlow
	}
	var trying *flowRow
	if err := s.db.InTx(ctx, func(ctx context.Context) (err error) {
		trying, err = s.store.tryFlow(ctx, row, 1, retrier.Tries())
		return err
	}); err != nil {
		return err
	}
	if trying == nil { // it is over, something else was mailed since, or it was tried as often as it may be
		return ErrFlow
	}
	found, err := s.store.snapshot(ctx, provider, m.Email)
	if err != nil {
		return err
	}
	t := s.tally(ctx, provider)
	defer t.close()
	if err = t.enter(ctx, m.Email, found); err == nil && !m.Proves(answer) {
		err = errMailed
	}
	switch err = t.settle(ctx, err); {
	case err == nil:
		return s.db.InTx(ctx, func(ctx context.Context) error {
			_, err := s.store.tryFlow(ctx, row, -1, retrier.Tries()+1)
			return err
		})
	case errors.Is(err, ErrInvalidCredentials) && trying.Tries >= retrier.Tries():
		if _, ended := s.store.endFlow(ctx, row.IDHash); ended != nil {
			return ended
		}
		return ErrFlow
	}
	return err
}

// errMailed is the answer to a code that is not the one.
var errMailed = ErrInvalidCredentials.Msg("That is not the code that was mailed to you last, or it has expired.")

const useSignInMail = "sign_in"

type signInMailClaims struct {
	Email string `json:"entity_id"`
	Use   string `json:"use"`
	jwt.RegisteredClaims
}

// parseSignInMail returns the claims of a token that was made here and has not expired.
func parseSignInMail(keys *keyring.Ring, token string) (c signInMailClaims, ok bool) {
	ok = parse(keys, keyring.SignInMail, token, &c) && c.Use == useSignInMail
	return c, ok
}
