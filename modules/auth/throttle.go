package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// Limit says how often something may be done, or may fail, in a window of time. The window begins with the first time.
type Limit struct {
	Name string // in the hash that things are counted by; two limits have two names
	Most int
	Per  time.Duration
}

// Limits for what is not a guess at somebody's secret; docs/security/throttling.md says why they are what they are.
var (
	// LimitToken is for tokens that lead nowhere, by whoever presents them: of invites, of changes of address, of
	// verifications. They cannot be guessed; trying costs us something.
	LimitToken = Limit{"token", 30, 15 * time.Minute}
)

var (
	limitAgain            = Limit{"again", 10, 15 * time.Minute}           // wrong passwords in a session, by identity
	limitAgainDay         = Limit{"again_day", 100, 24 * time.Hour}        // the same, without a success between them
	limitDevice           = Limit{"device", 10, 15 * time.Minute}          // failures of a known device at the account it is known to
	limitDeviceDay        = Limit{"device_day", 100, 24 * time.Hour}       // the same, without a success between them
	limitDay              = Limit{"account_day", 100, 24 * time.Hour}      // failures at an account without a success between them
	limitRegister         = Limit{"register", 60, time.Hour}               // registrations, by address
	limitResetMail        = Limit{"reset_mail", 5, 15 * time.Minute}       // requests for a new password, by account
	limitResetAsk         = Limit{"reset_ask", 30, time.Hour}              // the same, by address
	limitEmailChange      = Limit{"email_change", 5, time.Hour}            // requests for another address, by identity
	limitVerificationAsk  = Limit{"verification_ask", 5, 15 * time.Minute} // requests for a mail that proves an address, by identity
	limitVerificationMail = Limit{"verification_mail", 10, time.Hour}      // such mails, those of changes to it as well, by where they go and who has them sent
	limitVerificationAll  = Limit{"verification_all", 100, time.Hour}      // such mails, by where they go
	limitSignInAsk        = Limit{"sign_in_ask", 60, time.Hour}            // mails to sign in by, by the address that has them sent
	limitSignInMail       = Limit{"sign_in_mail", 5, 15 * time.Minute}     // such mails, by where they go and who has them sent
	limitSignInMailAll    = Limit{"sign_in_mail_all", 50, time.Hour}       // such mails, by where they go
	limitResetToken       = Limit{"reset_token", 30, 15 * time.Minute}     // reset tokens that are no good, by address
	limitBegin            = Limit{"begin", 300, 15 * time.Minute}          // sign-ins of two steps that are begun, by address
	limitPair             = Limit{"account_address", 10, 15 * time.Minute} // what ThrottleOptions defaults to
	limitAccount          = Limit{"account", 80, time.Hour}
	limitAddress          = Limit{"address", 100, 15 * time.Minute}
)

// suspicious is how many failures before a sign-in make it one that its owner should hear of (ASVS 6.3.5).
const suspicious = 5

// ThrottleOptions say how many failures there may be before attempts are refused with ErrThrottled. What is zero of a limit
// is its default; names are ours.
type ThrottleOptions struct {
	Disabled       bool
	AccountAddress Limit // failures at an account from an address; 10 in 15 minutes
	Account        Limit // failures at an account, from wherever it is not known; 80 in an hour
	Address        Limit // failures from an address, at whatever accounts; 100 in 15 minutes
	// MaxWait is how long an attempt waits while others, which may succeed, have begun that would be over the limit with it;
	// 10 s if zero.
	MaxWait time.Duration
}

func (o ThrottleOptions) filled() ThrottleOptions {
	o.AccountAddress, o.Account, o.Address = o.AccountAddress.or(limitPair), o.Account.or(limitAccount), o.Address.or(limitAddress)
	if o.MaxWait == 0 {
		o.MaxWait = 10 * time.Second
	}
	return o
}

// day is the limit of failures in a row; who allows more in an hour allows as many in a row.
func (o ThrottleOptions) day() Limit {
	l := limitDay
	l.Most = max(l.Most, o.Account.Most)
	return l
}

func (l Limit) or(standard Limit) Limit {
	if l.Most > 0 {
		standard.Most = l.Most
	}
	if l.Per > 0 {
		standard.Per = l.Per
	}
	return standard
}

// bucket is what a limit counts by itself.
type bucket struct {
	limit   Limit
	id      string
	subject string // whose counts they are; empty: nobody's
}

func (l Limit) bucket(by ...string) bucket {
	return bucket{limit: l, id: hashed(fmt.Sprintf("%q %q", l.Name, by))}
}

func (b bucket) about(subject string) bucket { b.subject = subject; return b }

// subjectOf names an account, whether or not there is one.
func subjectOf(provider, entityID string) string {
	return hashed(fmt.Sprintf("account %q %q", provider, entityID))
}

// subjectOfIdentity names what is counted by identity.
func subjectOfIdentity(id IdentityID) string { return hashed(fmt.Sprintf("identity %q", id)) }

// A tally counts one attempt: it takes its place in every count before the provider does the work that a guess costs, and
// the place is given back unless the attempt fails by the caller's fault. So any number of guesses at once get no further
// than as many one after the other. The nil tally counts nothing.
//
//	enter    once it is known whom the attempt is about: ErrThrottled if there have been too many failures
//	settle   once it is known what came of it
type tally struct {
	s        *Service
	provider string
	client   Client
	since    time.Time
	signUp   bool
	again    IdentityID // whose secret is tried by who holds a session of theirs, or a link; empty: it is a sign-in
	session  bool       // it is a session, so that their address does not matter

	identity IdentityID // whom it is about; empty: nobody there
	held     []held
	entered  map[string]bool
	forgets  []string // what a success sets back to nothing
	failures int      // that came before this attempt
	refused  error
	leave    []func()
}

// held is a place in a count.
type held struct {
	bucket  bucket
	expires time.Time // the end of the window that it belongs to
	before  int       // failures that there were
}

func (s *Service) tally(ctx context.Context, provider string) *tally {
	if s.options.Throttle.Disabled || isUnlimited(ctx) {
		return nil
	}
	c := callerOf(ctx)
	return &tally{s: s, provider: provider, client: c.client, since: c.since, entered: map[string]bool{}}
}

// tallyAgain is the tally of who is signed in already. Their failures say nothing of who tries to sign in, and the other way
// round: whoever has got hold of a session guesses at its password in a count of its own, from wherever.
func (s *Service) tallyAgain(ctx context.Context, provider string, id IdentityID) *tally {
	t := s.tally(ctx, provider)
	if t != nil {
		t.again, t.session = id, true
	}
	return t
}

// tallyRegistered is the tally of who holds the link of a registration, and may be nobody who registered. Whose address it
// is counts as well: anybody may register, and have as many links to guess by as they like.
func (s *Service) tallyRegistered(ctx context.Context, provider string, id IdentityID) *tally {
	t := s.tally(ctx, provider)
	if t != nil {
		t.again = id
	}
	return t
}

func (t *tally) signsUp(yes bool) {
	if t != nil {
		t.signUp = yes
	}
}

// enter counts the attempt for the entity, of whom found is stored; "": for nobody that could be somebody. It may wait for
// others to be settled.
func (t *tally) enter(ctx context.Context, entityID string, found snapshot) error {
	if t == nil || t.entered[entityID] {
		return nil
	}
	err := t.count(ctx, entityID, found)
	if err != nil {
		t.refused = err // whatever the provider makes of it
	}
	t.entered[entityID] = true
	return err
}

func (t *tally) count(ctx context.Context, entityID string, found snapshot) error {
	o := t.s.options.Throttle
	place, account := t.client.place(), subjectOf(t.provider, entityID)
	t.identity = cmp.Or(t.again, found.identity, t.identity)
	var gate bucket
	var all, strangers []bucket // strangers: those that do not hold for an address that the account is known at
	day := o.day().bucket(account).about(account)
	device := t.s.knownDevice(t.client.Device, found.identity, found.ver)
	switch {
	case t.again != "":
		gate = limitAgain.bucket(string(t.again)).about(subjectOfIdentity(t.again))
		row := limitAgainDay.bucket(string(t.again)).about(subjectOfIdentity(t.again))
		all, t.forgets = []bucket{gate, row}, []string{row.id}
	case entityID == "":
	case device != "":
		gate = limitDevice.bucket(string(found.identity), device).about(account)
		row := limitDeviceDay.bucket(string(found.identity), device).about(account)
		all = []bucket{gate, row}
		t.forgets = append(t.forgets, day.id, row.id)
	default:
		gate = o.AccountAddress.bucket(account, network(t.client.IP)).about(account)
		strangers = []bucket{o.Account.bucket(account).about(account), day}
		t.forgets = append(t.forgets, day.id)
		if all = append(all, gate); !t.signUp || found.identity != "" { // nobody is kept from an address that is free
			all = append(all, strangers...)
		}
	}
	if !t.session && device == "" && place != "" && !t.places() {
		all = append(all, o.Address.bucket(place))
	}
	if len(all) == 0 {
		return nil
	}
	if gate.id != "" && len(t.leave) == 0 { // one at most, or two could wait for each other
		leave, opened, err := t.s.gates.enter(ctx, gate, o.MaxWait)
		if err != nil {
			return err
		}
		t.leave = append(t.leave, leave)
		if opened.Before(t.since) {
			t.since = opened
		}
	}
	held, failures, err := t.s.reserve(ctx, all)
	if errors.As(err, new(toStrangers)) { // asked only now: hardly anybody gets here
		known, lookup := t.s.knownPlace(ctx, found.identity, place)
		switch {
		case lookup != nil:
			return lookup
		case known:
			all = slices.DeleteFunc(all, func(b bucket) bool { return slices.Contains(strangers, b) })
			held, failures, err = t.s.reserve(ctx, all)
		}
	}
	if t.signUp && errors.Is(err, ErrThrottled) {
		err = t.lost(ctx, entityID, err)
	}
	for _, h := range held {
		if h.before == 0 { // nothing to forget: spare the statement
			t.forgets = slices.DeleteFunc(t.forgets, func(id string) bool { return id == h.bucket.id })
		}
	}
	t.held, t.failures = append(t.held, held...), max(t.failures, failures)
	return err
}

// lost is why a registration is refused. Of many at once for one address one makes the identity, and all others are told what
// the first few of them are: that it is there. Nothing they have sent is compared with anything.
func (t *tally) lost(ctx context.Context, entityID string, why error) error {
	now, err := t.s.store.snapshot(ctx, t.provider, entityID)
	if err != nil {
		return err
	}
	if now.identity != "" && !now.made.Before(t.since.Truncate(time.Microsecond)) {
		return ErrIdentityExists
	}
	return why
}

// places reports whether the attempt is counted by address already.
func (t *tally) places() bool {
	return slices.ContainsFunc(t.held, func(h held) bool { return h.bucket.limit.Name == limitAddress.Name })
}

// settle says what came of the attempt, and returns what to answer. It is also for what the caller did not wait for.
func (t *tally) settle(ctx context.Context, came error) error {
	if t == nil {
		return came
	}
	failed := callersFault(came)
	if failed && t.refused == nil && len(t.entered) == 0 { // a provider that has not said whom it is about
		if err := t.enter(ctx, "", snapshot{}); err != nil && !errors.Is(err, ErrThrottled) {
			return err
		}
	}
	if t.refused != nil {
		came, failed = t.refused, false // for which nothing was tried
	}
	var forget []string
	if came == nil {
		forget = t.forgets
	}
	t.s.settle(ctx, t.client, t.identity, t.held, forget, failed)
	return came
}

// close lets others go on. It is for what ends in a panic, too.
func (t *tally) close() {
	if t == nil {
		return
	}
	for _, leave := range t.leave {
		leave()
	}
	t.leave = nil
}

// before is how many attempts failed at the account before this one.
func (t *tally) before() int {
	if t == nil {
		return 0
	}
	return t.failures
}

// callersFault reports whether an attempt failed because of what the caller sent: neither because we could not, nor because
// there was no turn for it.
func callersFault(err error) bool {
	switch fault.KindOf(err) {
	case fault.Internal, fault.Unavailable, fault.TooMany:
		return false
	default:
		return true
	}
}

// errFull is why a place is not to be had for now. It undoes the transaction that asked for it.
var errFull = errors.New("auth: others have begun that may fail")

// toStrangers is an ErrThrottled by limits that are for strangers to the account alone.
type toStrangers struct{ error }

func (e toStrangers) Unwrap() error { return e.error }

// reserve takes a place in every count, or in none, and returns how many have failed in the fullest. It is committed when it
// returns. It waits for those that have begun, as they may be given back; if nothing comes of any, they are as good as failed.
func (s *Service) reserve(ctx context.Context, buckets []bucket) (places []held, failures int, err error) {
	slices.SortFunc(buckets, func(a, b bucket) int { return strings.Compare(a.id, b.id) }) // everybody locks in this order
	patience := time.NewTimer(s.options.Throttle.MaxWait)
	defer patience.Stop()
	var first []throttleRow
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		var rows []throttleRow
		now := database.Now()
		err := s.count(ctx, patience.C, func(ctx context.Context) (err error) {
			if rows, err = s.store.reserve(ctx, buckets, now); err != nil {
				return err
			}
			return s.verdict(buckets, rows, now, false)
		})
		switch {
		case err == nil:
			for i, r := range rows {
				places = append(places, held{buckets[i], r.ExpiresAt, int(r.Failed)})
				if buckets[i].subject != "" {
					failures = max(failures, int(r.Failed))
				}
			}
			return places, failures, nil
		case !errors.Is(err, errFull):
			return nil, 0, err
		}
		if first == nil {
			first = rows
		}
		select {
		case <-time.After(pause):
		case <-patience.C:
			if slices.EqualFunc(first, rows, func(a, b throttleRow) bool { return a.Failed == b.Failed && a.Pending == b.Pending }) {
				return nil, 0, s.verdict(buckets, rows, now, true) // nothing moves: whoever began is no more
			}
			return nil, 0, ErrBusy.After(time.Second)
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// countingAtOnce is how many transactions over counts a node has under way on PostgreSQL: half of its connections. They are short;
// but if somebody has locked the table, such as for a migration, or a count hangs otherwise, those who are signed in already, and
// everybody else, find a connection still.
func countingAtOnce(conns int) int {
	if conns == 0 { // as many as there may be
		conns = 16
	}
	return max(1, conns/2)
}

// count runs a transaction over counts when there is a place for it: ErrBusy if there is none when patience has ended. What is a
// part of one that is under way has its connection, and does not wait for those who may wait for one.
func (s *Service) count(ctx context.Context, patience <-chan time.Time, do func(context.Context) error) error {
	if s.counting != nil && !s.db.Inside(ctx) {
		select {
		case s.counting <- struct{}{}:
			defer func() { <-s.counting }()
		case <-patience:
			return ErrBusy.After(time.Second)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.db.InTx(ctx, do)
}

// verdict says whether the counts, in which a place was taken, leave room for it: ErrThrottled if too many have failed, and
// errFull if too many would have if those that have begun do. After waiting, the second is as good as the first.
func (s *Service) verdict(buckets []bucket, rows []throttleRow, now time.Time, waited bool) error {
	var until time.Time
	full, others := false, false
	for i, r := range rows {
		l := buckets[i].limit
		switch most := int64(l.Most); {
		case most <= 0 || r.Failed+r.Pending <= most:
			continue
		case r.Failed < most && !waited:
			full = true
			continue
		}
		if r.ExpiresAt.After(until) {
			until = r.ExpiresAt
		}
		others = others || (l.Name != limitAccount.Name && l.Name != limitDay.Name)
	}
	switch wait := until.Sub(now).Truncate(time.Second) + time.Second; {
	case !until.IsZero() && !others:
		return toStrangers{ErrThrottled.After(wait)}
	case !until.IsZero():
		return ErrThrottled.After(wait)
	case full:
		return errFull
	}
	return nil
}

// settleTimeout is how long a busy database may take to note what came of an attempt.
const settleTimeout = time.Minute

// settle gives the places back, or makes failures of them, in the windows that they were taken in. It goes on when the
// caller has hung up; if it cannot be done, the places stay taken until their windows end, as if the attempt had failed.
func (s *Service) settle(ctx context.Context, c Client, who IdentityID, places []held, forget []string, failed bool) {
	if len(places) == 0 && len(forget) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	var rows []throttleRow
	err := s.count(ctx, nil, func(ctx context.Context) (err error) {
		rows, err = s.store.settle(ctx, places, forget, failed)
		return err
	})
	if err == nil && failed {
		err = s.announce(ctx, c, who, places, rows)
	}
	if err != nil {
		s.log.Warn("note what came of an attempt to sign in", "failed", failed, "error", err)
	}
}

// announce tells of limits that this failure was the last one before. It is no part of the transaction that has counted it.
func (s *Service) announce(ctx context.Context, c Client, who IdentityID, places []held, rows []throttleRow) error {
	for _, r := range rows {
		i := slices.IndexFunc(places, func(h held) bool { return h.bucket.id == r.ID })
		if i < 0 || r.Failed != int64(places[i].bucket.limit.Most) {
			continue
		}
		e := Throttled{
			ID: id.New("throttled"), Limit: places[i].bucket.limit.Name, Failures: int(r.Failed),
			IP: clip(c.IP, 64), UserAgent: clip(c.UserAgent, 256), Until: database.UTC(r.ExpiresAt),
		}
		if places[i].bucket.subject != "" {
			e.IdentityID = who
		}
		if err := s.db.InTx(ctx, func(ctx context.Context) error { return s.events.Emit(ctx, e) }); err != nil {
			return err
		}
	}
	return nil
}

// Take counts one time that something is done, by a key such as who does it, whatever comes of it: ErrThrottled if it was
// done as often as the limit allows. It joins the transaction of ctx, so that what does not happen does not count. On the
// context of Unlimited, and where throttling is disabled, nothing counts.
func (s *Service) Take(ctx context.Context, l Limit, key string) error {
	return s.take(ctx, l.bucket(key))
}

func (s *Service) take(ctx context.Context, b bucket) error {
	if s.options.Throttle.Disabled || isUnlimited(ctx) {
		return nil
	}
	var until time.Time
	now := database.Now()
	err := s.count(ctx, time.After(s.options.Throttle.MaxWait), func(ctx context.Context) (err error) {
		until, err = s.store.take(ctx, b, now)
		return err
	})
	if err == nil && !until.IsZero() {
		err = ErrThrottled.After(until.Sub(now).Truncate(time.Second) + time.Second)
	}
	return err
}

// takeByPlace is take by the client's address, where that tells one client from others.
func (s *Service) takeByPlace(ctx context.Context, l Limit) error {
	if place := clientOf(ctx).place(); place != "" {
		return s.take(ctx, l.bucket(place))
	}
	return nil
}

// Try does something that counts, by a key such as who does it, only if it fails by the caller's fault: ErrThrottled, and
// it is not done, if it has failed as often as the limit allows. Call it outside transactions: the count must outlive one
// that is rolled back.
func (s *Service) Try(ctx context.Context, l Limit, key string, do func(context.Context) error) error {
	return s.try(ctx, []bucket{l.bucket(key)}, do)
}

// Watch is Try for what nobody can guess, such as a signed token: of several at once, some may fail beyond the limit. It
// writes nothing unless it fails.
func (s *Service) Watch(ctx context.Context, l Limit, key string, do func(context.Context) error) error {
	return s.watch(ctx, l.bucket(key), do)
}

// watchByPlace is Watch by the client's address, where that tells one client from others.
func (s *Service) watchByPlace(ctx context.Context, l Limit, do func(context.Context) error) error {
	if place := clientOf(ctx).place(); place != "" {
		return s.watch(ctx, l.bucket(place), do)
	}
	return do(ctx)
}

func (s *Service) watch(ctx context.Context, b bucket, do func(context.Context) error) error {
	if s.options.Throttle.Disabled || isUnlimited(ctx) {
		return do(ctx)
	}
	now := database.Now()
	until, err := s.store.throttledUntil(ctx, b, now)
	switch {
	case err != nil:
		return err
	case !until.IsZero():
		return ErrThrottled.After(until.Sub(now).Truncate(time.Second) + time.Second)
	}
	err = do(ctx)
	if callersFault(err) {
		if counted := s.take(context.WithoutCancel(ctx), b); counted != nil && !errors.Is(counted, ErrThrottled) {
			s.log.Warn("count a failure", "limit", b.limit.Name, "error", counted)
		}
	}
	return err
}

func (s *Service) try(ctx context.Context, buckets []bucket, do func(context.Context) error) error {
	if s.options.Throttle.Disabled || isUnlimited(ctx) {
		return do(ctx)
	}
	places, _, err := s.reserve(ctx, buckets)
	if err != nil {
		return err
	}
	err = do(ctx)
	s.settle(ctx, clientOf(ctx), "", places, nil, callersFault(err))
	return err
}

// forgetFailures takes away what has failed at the account, because its owner has shown up.
func (s *Service) forgetFailures(ctx context.Context, provider, entityID string, id IdentityID) error {
	return s.store.forgetThrottles(ctx, subjectOf(provider, entityID), subjectOfIdentity(id))
}

// PurgeThrottles deletes at most so many counts whose windows are over, the oldest first, and returns how many it
// has deleted.
func (s *Service) PurgeThrottles(ctx context.Context, most int) (deleted int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
		deleted, err = s.store.deleteExpiredThrottles(ctx, database.Now().Add(-margin), most)
		return err
	})
	return deleted, err
}

// knownPlace reports whether somebody is signed in to the identity from the place.
func (s *Service) knownPlace(ctx context.Context, id IdentityID, place string) (bool, error) {
	addresses, err := s.store.sessionAddresses(ctx, id)
	return place != "" && slices.ContainsFunc(addresses, func(ip string) bool { return network(ip) == place }), err
}

// gates let no more attempts at an account from an address begin on this node than may fail. The others wait in line, first
// come, first served, and who by the measured rate would wait too long is sent away at once, as by the pool of hashes: if
// they all asked the database instead, nobody else would get through to it. The zero gates are ready.
type gates struct {
	mu   sync.Mutex
	open map[string]*gate
	took time.Duration // what an attempt takes, a moving average
}

type gate struct {
	opened  time.Time // since when there has been somebody all the time
	slots   chan struct{}
	waiting int // in line or inside
}

// enter returns what to call when the attempt is over, and since when others have been there.
func (g *gates) enter(ctx context.Context, b bucket, maxWait time.Duration) (leave func(), opened time.Time, err error) {
	at, wait := g.join(b)
	if wait > maxWait {
		g.quit(b, at)
		return nil, time.Time{}, ErrBusy.After((wait + time.Second - 1).Truncate(time.Second))
	}
	select {
	case at.slots <- struct{}{}:
	case <-ctx.Done():
		g.quit(b, at)
		return nil, time.Time{}, ctx.Err()
	}
	start := time.Now()
	return func() {
		<-at.slots
		g.mu.Lock()
		g.took += (time.Since(start) - g.took) / 8
		g.mu.Unlock()
		g.quit(b, at)
	}, at.opened, nil
}

// join gets in line and returns how long the turn is away.
func (g *gates) join(b bucket) (*gate, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := g.open[b.id]
	if at == nil {
		at = &gate{opened: time.Now(), slots: make(chan struct{}, b.limit.Most)}
		if g.open == nil {
			g.open = map[string]*gate{}
		}
		g.open[b.id] = at
	}
	at.waiting++
	ahead := max(0, at.waiting-cap(at.slots))
	return at, time.Duration(ahead) * g.took / time.Duration(cap(at.slots))
}

func (g *gates) quit(b bucket, at *gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at.waiting--; at.waiting == 0 {
		delete(g.open, b.id)
	}
}
