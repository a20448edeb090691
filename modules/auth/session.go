package auth

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// SessionID names a session: authsess_ and a ULID. It is the sid of the session's tokens, and no secret.
type SessionID string

// Session is one sign-in of one identity as one actor type. Tokens and cookie are two faces of it: while it lives they
// open doors, and when it ends they are dead. It ends when it is ended, expires, or the identity's credentials are set
// anew. It is a plain value.
type Session struct {
	ID              SessionID
	IdentityID      IdentityID
	ActorType       string
	Provider        string // by which it signed in
	UserAgent       string
	IP              string
	AuthenticatedAt time.Time
	FactorAt        time.Time // when a second factor was given; zero: never
	CreatedAt       time.Time
	LastUsedAt      time.Time // noted at most once a minute
	ExpiresAt       time.Time

	ver int64
}

// OpenSession starts a session for an identity that has just been admitted. Call it in the transaction of Admit: if the
// credentials are set anew meanwhile, the session is born dead. If there are more than Options.MaxSessions then, the oldest
// end. A sign-in that its owner should hear of is announced by a SuspiciousSignIn event.
func (s *Service) OpenSession(ctx context.Context, i Identity, actorType string, c Client) (Session, error) {
	now := database.Now()
	row := &sessionRow{
		ID: SessionID(id.New("authsess")), AuthIdentityID: i.ID, ActorType: actorType, Provider: i.Proved.Provider, Ver: i.ver,
		UserAgent: clip(c.UserAgent, 256), IP: clip(c.IP, 64),
		AuthenticatedAt: now, CreatedAt: now, LastUsedAt: now, ExpiresAt: now.Add(s.options.SessionTTL),
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.suspect(ctx, i, row, c); err != nil {
			return err
		}
		if s.options.MaxSessions == 0 {
			return s.store.insertSession(ctx, row)
		}
		return s.openOneOfSome(ctx, row)
	})
	return row.session(), err
}

// openOneOfSome starts a session of an identity that may have so many. Of two at once the second waits, and counts the first.
func (s *Service) openOneOfSome(ctx context.Context, row *sessionRow) error {
	if _, err := s.store.lockIdentities(ctx, []IdentityID{row.AuthIdentityID}, "NO KEY UPDATE"); err != nil {
		return err
	}
	if err := s.store.insertSession(ctx, row); err != nil {
		return err
	}
	ended, err := s.store.deleteOldestSessions(ctx, row, s.options.MaxSessions-1)
	if err != nil || len(ended) == 0 {
		return err
	}
	if err := s.forget(ctx, row.AuthIdentityID); err != nil {
		return err
	}
	told := make([]event.Event, len(ended))
	for i, id := range ended {
		told[i] = SessionsEnded{ID: row.AuthIdentityID, Session: id, Count: 1, Reason: EndedByLimit}
	}
	return s.events.Emit(ctx, told...)
}

// suspect announces a sign-in that comes after many failures, or from where nobody was seen before while somebody is signed in.
func (s *Service) suspect(ctx context.Context, i Identity, row *sessionRow, c Client) error {
	e := SuspiciousSignIn{ID: i.ID, SessionID: row.ID, IP: row.IP, UserAgent: row.UserAgent, At: row.CreatedAt}
	if c.Shared { // as in a notice
		e.IP = ""
	}
	if i.Proved.failures >= suspicious {
		e.Failures = i.Proved.failures
	}
	if place := c.place(); place != "" && !i.Proved.Created && s.knownDevice(c.Device, i.ID, i.ver) == "" {
		addresses, err := s.store.sessionAddresses(ctx, i.ID)
		if err != nil {
			return err
		}
		e.NewDevice = len(addresses) > 0 && !slices.ContainsFunc(addresses, func(ip string) bool { return network(ip) == place })
	}
	if e.Failures == 0 && !e.NewDevice {
		return nil
	}
	told, err := s.Notice(ctx, i.ID, ProviderIdentity{})
	if err != nil {
		return err
	}
	e.Email = told.Email
	return s.events.Emit(ctx, e)
}

// clip makes text from outside fit for a column.
func clip(text string, most int) string { return database.Clip(text, most) }

// SetCookie gives the session a new cookie secret of 256 bits; the one before is dead. Only its hash is kept. ErrSession: the
// session has ended, or was checked before the credentials were set anew.
func (s *Service) SetCookie(ctx context.Context, session Session) (secret string, err error) {
	id := session.ID
	secret = rand.Text() + rand.Text()
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		found, err := s.store.setSessionSecret(ctx, id, session.ver, hashed(secret))
		if err == nil && !found {
			err = ErrSession
		}
		if err != nil {
			return err
		}
		return s.db.AfterCommit(ctx, func(context.Context) { s.cache.drop(func(e entry) bool { return e.session.ID == id }) })
	})
	return secret, err
}

// CheckCookie returns the session whose cookie has the secret, or ErrSession.
func (s *Service) CheckCookie(ctx context.Context, secret string) (Session, error) {
	hash := hashed(secret)
	e, err := s.checked(ctx, "cookie "+hash, "secret_hash", hash, nil)
	if err != nil {
		return Session{}, err
	}
	if time.Since(e.session.LastUsedAt) > s.options.IdleTTL {
		return Session{}, ErrSession
	}
	s.touch(ctx, e.session)
	return e.session, nil
}

// CheckToken returns what an access token says, and its session, if both are good: ErrToken or ErrSession otherwise.
func (s *Service) CheckToken(ctx context.Context, token string) (Claims, Session, error) {
	e, ok := s.cache.get("token " + token)
	if !ok {
		claims, err := s.signer.verify(token)
		if err != nil {
			return Claims{}, Session{}, err
		}
		if e, err = s.checked(ctx, "token "+token, "id", string(claims.SessionID), &claims); err != nil {
			return Claims{}, Session{}, err
		}
	}
	switch now := time.Now(); {
	case now.Unix() >= e.claims.ExpiresAt:
		return Claims{}, Session{}, ErrToken
	case e.claims.Ver != e.session.ver || e.claims.AuthIdentityID != e.session.IdentityID || !e.session.ExpiresAt.After(now):
		return Claims{}, Session{}, ErrSession
	}
	s.touch(ctx, e.session)
	return *e.claims, e.session, nil
}

// checked reads the living session by a unique column, through the cache.
func (s *Service) checked(ctx context.Context, key, column, value string, claims *Claims) (entry, error) {
	if e, ok := s.cache.get(key); ok && e.session.ExpiresAt.After(time.Now()) {
		return e, nil
	}
	generation, before := s.cache.generation(), time.Now() // what was read is at least as old as the beginning of the read
	row, err := s.store.liveSession(ctx, column, value)
	if err != nil {
		return entry{}, err
	}
	if row == nil || !row.ExpiresAt.After(time.Now()) {
		return entry{}, ErrSession
	}
	e := entry{session: row.session(), claims: claims, at: before}
	s.cache.put(key, e, generation)
	return e, nil
}

// HoldSession makes sure, inside a transaction, that the session lives as it was checked: ErrSession if it has ended, or the
// credentials were set anew since, also if it was carried over that for whoever did it. Its identity cannot be deleted before
// the transaction ends.
func (s *Service) HoldSession(ctx context.Context, session Session) error {
	alive, err := s.store.holdSession(ctx, session.ID, session.ver)
	if err == nil && !alive {
		err = ErrSession
	}
	return err
}

// RecheckSession reads once more, past the cache, whether a session that was checked lives: ErrSession if it does not.
func (s *Service) RecheckSession(ctx context.Context, id SessionID) error {
	row, err := s.store.liveSession(ctx, "id", string(id))
	if err == nil && (row == nil || !row.ExpiresAt.After(time.Now())) {
		err = ErrSession
	}
	return err
}

// noteUseEvery is how often it is written down that a session is in use.
const noteUseEvery = time.Minute

// touch notes, from time to time, that the session is in use. A request does not fail for it, nor wait for long. A cookie
// that was not used for too long by then is dead for good: what its session's tokens do must not wake it up.
func (s *Service) touch(ctx context.Context, session Session) {
	now := database.Now()
	if now.Sub(session.LastUsedAt) < noteUseEvery {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.store.touchSession(ctx, session.ID, session.LastUsedAt, now, now.Add(-s.options.IdleTTL)); err != nil {
			return err
		}
		return s.db.AfterCommit(ctx, func(context.Context) { s.cache.drop(func(e entry) bool { return e.session.ID == session.ID }) })
	})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("note that a session is in use", "session", session.ID, "error", err)
	}
}

// EndSession ends the session, its tokens and its cookie. Ending one that has ended is ErrSession.
func (s *Service) EndSession(ctx context.Context, id SessionID) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		identity, found, err := s.store.deleteSession(ctx, id)
		if err == nil && !found {
			err = ErrSession
		}
		if err != nil {
			return err
		}
		if err := s.events.Emit(ctx, SessionEnded{id, identity}); err != nil {
			return err
		}
		return s.db.AfterCommit(ctx, func(context.Context) { s.cache.drop(func(e entry) bool { return e.session.ID == id }) })
	})
}

// EndSessions ends the identity's sessions as one actor type, or as all if it is empty, but for one.
func (s *Service) EndSessions(ctx context.Context, id IdentityID, actorType string, but SessionID) error {
	_, err := s.endSessions(ctx, id, actorType, but, EndedByChange)
	return err
}

// endSessions announces what it ends, for the reason; "": the caller does.
func (s *Service) endSessions(ctx context.Context, id IdentityID, actorType string, but SessionID, reason string) (ended int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		ended, err = s.store.deleteSessions(ctx, id, actorType, but)
		if err == nil && ended > 0 && reason != "" {
			err = s.events.Emit(ctx, SessionsEnded{ID: id, ActorType: actorType, Kept: but, Count: ended, Reason: reason})
		}
		if err != nil {
			return err
		}
		return s.forget(ctx, id)
	})
	return ended, err
}

// Revoke ends every session of the identity and makes every proof and token of before worthless.
func (s *Service) Revoke(ctx context.Context, id IdentityID) error {
	_, err := s.revoke(ctx, id, Session{}, EndedByChange)
	return err
}

// revoke is Revoke but for one session, which lives on without the tokens and the cookie it had, and returns how many have
// ended. ErrSession: that one has ended, or another act of its kind came first.
func (s *Service) revoke(ctx context.Context, id IdentityID, keep Session, reason string) (ended int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.store.bumpVer(ctx, id); err != nil {
			return err
		}
		but := keep.ID
		if but != "" {
			if err := s.store.lockSessions(ctx, id); err != nil { // all, or this one would be locked out of order
				return err
			}
			if carried, err := s.store.carrySession(ctx, but, id, keep.ver); err != nil {
				return err
			} else if !carried {
				return ErrSession
			}
		}
		ended, err = s.endSessions(ctx, id, "", but, reason)
		return err
	})
	return ended, err
}

// forget drops what this node has cached of the identities once the transaction commits; other nodes notice within
// cacheTTL.
func (s *Service) forget(ctx context.Context, ids ...IdentityID) error {
	which := make(map[IdentityID]bool, len(ids))
	for _, id := range ids {
		which[id] = true
	}
	drop := func(context.Context) { s.cache.drop(func(e entry) bool { return which[e.session.IdentityID] }) }
	drop(ctx) // of a commit that is done and reported as failed nobody tells
	return s.db.AfterCommit(ctx, drop)
}

// cacheTTL is how long a node may trust what it read of a session that another node ends. cacheSize bounds the memory.
const (
	cacheTTL  = time.Second
	cacheSize = 10_000
)

// entry is a session as it was read, by its cookie or by a token whose signature was checked.
type entry struct {
	session Session
	claims  *Claims // nil for a cookie
	at      time.Time
}

// cache keeps what was read for at most cacheTTL. A drop moves the generation on, so that a read begun before it is not
// put in after it. The zero cache is ready.
type cache struct {
	mu      sync.RWMutex
	gen     uint64
	entries map[string]entry
}

func (c *cache) generation() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.gen
}

func (c *cache) get(key string) (entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.entries[key]
	return e, ok && time.Since(e.at) < cacheTTL
}

func (c *cache) put(key string, e entry, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gen != generation {
		return
	}
	if c.entries == nil || len(c.entries) >= cacheSize {
		c.entries = map[string]entry{} // everything in it is about to expire anyway
	}
	c.entries[key] = e
}

func (c *cache) drop(which func(entry) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen++
	for key, e := range c.entries {
		if which(e) {
			delete(c.entries, key)
		}
	}
}
