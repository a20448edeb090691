package auth

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // G505: the range API is keyed by SHA-1, which protects nothing here
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// BreachChecker knows passwords that were found in data breaches. It is asked when somebody chooses one, outside of
// transactions and of the hash pool, and is safe for concurrent use. It must not hand the password, or what tells it,
// to anybody; nor may its error.
type BreachChecker interface {
	Breached(ctx context.Context, password string) (bool, error)
}

// BreachMode says what a BreachChecker decides.
type BreachMode string

// The modes.
const (
	BreachOff    BreachMode = "off"    // it is not asked; also if empty
	BreachOpen   BreachMode = "open"   // while it fails, passwords pass, and the log says so
	BreachClosed BreachMode = "closed" // while it fails, nobody can choose a password: ErrBreachCheck
)

// breachWait is how long choosing a password waits for a checker.
const breachWait = 3 * time.Second

// warnEvery is how often the log says that the checker fails.
const warnEvery = time.Minute

// breaches asks the checker, as the mode says.
type breaches struct {
	mode    BreachMode
	checker BreachChecker
	log     *slog.Logger

	mu     sync.Mutex
	warned time.Time
}

func (b *breaches) init(p PasswordParams, log *slog.Logger) (err error) {
	b.mode, b.checker, b.log = p.Options.Breach, p.Breaches, log
	switch b.mode {
	case "", BreachOff:
		b.checker = nil
	case BreachOpen, BreachClosed:
		if b.checker == nil {
			b.checker, err = NewRangeChecker(cmp.Or(p.Options.BreachURL, PwnedPasswords))
		}
	default:
		err = fmt.Errorf("auth: there is no breach mode %q: there are off, open and closed", b.mode)
	}
	return err
}

// check refuses a password that is known from a breach.
func (b *breaches) check(ctx context.Context, password string) error {
	if b.checker == nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, breachWait)
	defer cancel()
	found, err := b.checker.Breached(limited, password)
	switch {
	case err == nil && found:
		return ErrPassword.About("breached", "Password is known from a data breach: choose another one")
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err() // the caller has gone
	case b.mode == BreachClosed:
		b.warn("nobody can choose a password", err)
		return ErrBreachCheck.After(10 * time.Second)
	}
	b.warn("passwords that somebody chooses pass unchecked", err)
	return nil
}

func (b *breaches) warn(so string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); now.Sub(b.warned) >= warnEvery {
		b.warned = now
		b.log.Warn("the check for breached passwords fails: "+so, "error", err)
	}
}

// RangeChecker asks a range API, as that of Have I Been Pwned, by k-anonymity: it sends the first five of the forty
// digits of the password's SHA-1, and looks for the rest in the hundreds of answers. Answers are asked for with padding, so
// that their length does not tell either. No redirect is followed.
type RangeChecker struct {
	base   string
	client *http.Client
	turns  chan struct{}
}

// PwnedPasswords is the range API of Have I Been Pwned.
const PwnedPasswords = "https://api.pwnedpasswords.com/range/"

const (
	maxRange     = 1 << 20 // bytes of an answer; with padding there are about 40 KB
	rangeWait    = 2 * time.Second
	rangeAtOnce  = 16
	prefixDigits = 5
)

// NewRangeChecker returns a checker that asks GET base + prefix. The base is https, or http on a loopback address, as of a
// mirror on the same machine or a test's server.
func NewRangeChecker(base string) (*RangeChecker, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasSuffix(u.Path, "/") ||
		u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, errors.New("auth: a range API is an https:// address that ends in /, without user and query, or one by http:// on a loopback address")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() // with the proxy of the environment
	transport.MaxIdleConnsPerHost = rangeAtOnce
	transport.MaxResponseHeaderBytes = 16 << 10
	return &RangeChecker{base: base, turns: make(chan struct{}, rangeAtOnce), client: &http.Client{
		Transport: transport, Timeout: rangeWait,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Breached implements BreachChecker.
func (r *RangeChecker) Breached(ctx context.Context, password string) (bool, error) {
	sum := sha1.Sum([]byte(password)) //nolint:gosec // G401: as above
	digits := strings.ToUpper(hex.EncodeToString(sum[:]))
	ctx, cancel := context.WithTimeout(ctx, rangeWait) // waiting for a turn counts
	defer cancel()
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return false, errors.New("too many checks at once")
	}
	return r.look(ctx, digits[:prefixDigits], digits[prefixDigits:])
}

func (r *RangeChecker) look(ctx context.Context, prefix, rest string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+prefix, nil)
	if err != nil {
		return false, errors.New("the range API's address is no address")
	}
	req.Header.Set("Add-Padding", "true")
	req.Header.Set("User-Agent", "latchkey")
	rsp, err := r.client.Do(req)
	if err != nil {
		return false, bare(err)
	}
	defer rsp.Body.Close() //nolint:errcheck // it was read
	if rsp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("the range API answers %d", rsp.StatusCode)
	}
	limit := &io.LimitedReader{R: rsp.Body, N: maxRange}
	lines := bufio.NewScanner(limit)
	found, n := false, 0
	for lines.Scan() { // all of it: how long it takes does not tell where it was found
		suffix, count, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		if !ok || len(suffix) != len(rest) {
			return false, errors.New("the range API does not answer as one does")
		}
		n++
		found = found || strings.EqualFold(suffix, rest) && strings.TrimLeft(count, "0") != "" // padding counts none
	}
	switch err := lines.Err(); {
	case err != nil:
		return false, bare(err)
	case limit.N == 0:
		return false, errors.New("the range API's answer is too long")
	case n == 0:
		return false, errors.New("the range API's answer is empty")
	}
	return found, nil
}

// bare is an error without the address, whose end tells of the password.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("the range API does not answer in time")
	}
	return fmt.Errorf("the range API cannot be asked: %w", err)
}
