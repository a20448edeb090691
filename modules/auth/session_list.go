package auth

import (
	"context"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
)

// ListSessions returns a page of the identity's sessions that live, newest first if the page names no order. Those who are
// not there have none. The orders are id, created_at, last_used_at and expires_at.
func (s *Service) ListSessions(ctx context.Context, of IdentityID, p Page) ([]Session, error) {
	return s.store.listSessions(ctx, of, p)
}

// ListAndCountSessions returns a page of the identity's sessions that live, as ListSessions, and how many there are in all.
func (s *Service) ListAndCountSessions(ctx context.Context, of IdentityID, p Page) ([]Session, int, error) {
	sessions, err := s.store.listSessions(ctx, of, p)
	if err != nil {
		return nil, 0, err
	}
	n, err := s.store.countSessions(ctx, of)
	return sessions, n, err
}

// EndSessionOf ends a session of the identity, with its tokens and its cookie, and reports whether it did: one that has ended,
// or is somebody else's, is left alone. The reason is what SessionsEnded says of it.
func (s *Service) EndSessionOf(ctx context.Context, of IdentityID, id SessionID, reason string) (ended bool, err error) {
	if !database.Storable(string(id), maxText) || !database.Storable(string(of), maxText) {
		return false, nil
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if ended, err = s.store.deleteSessionOf(ctx, of, id); err != nil || !ended {
			return err
		}
		if err := s.forget(ctx, of); err != nil {
			return err
		}
		return s.events.Emit(ctx, SessionsEnded{ID: of, Session: id, Count: 1, Reason: reason})
	})
	return ended && err == nil, err
}

// EndOtherSessions ends every session of the identity but this one, and makes every proof and token of before worthless,
// with changes of address that are pending: for who thinks that somebody else is signed in as them. The session lives on as
// it is returned; its tokens and its cookie are dead. ErrSession: it has ended, such as by another one that did the same.
func (s *Service) EndOtherSessions(ctx context.Context, session Session) (now Session, ended int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if ended, err = s.revoke(ctx, session.IdentityID, session, ""); err != nil {
			return err
		}
		row, err := s.store.liveSession(ctx, "id", string(session.ID))
		if err == nil && row == nil {
			err = ErrSession
		}
		if err != nil {
			return err
		}
		now = row.session()
		return s.events.Emit(ctx, SessionsEnded{ID: session.IdentityID, Kept: session.ID, Count: ended, Reason: EndedByOwner})
	})
	return now, ended, err
}

// EndAllSessions ends every session of the identity, as Revoke does, and announces it. Those who are not there have none.
func (s *Service) EndAllSessions(ctx context.Context, of IdentityID, reason string) (ended int, err error) {
	if !database.Storable(string(of), maxText) {
		return 0, nil
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if ended, err = s.revoke(ctx, of, Session{}, ""); err != nil || ended == 0 {
			return err
		}
		return s.events.Emit(ctx, SessionsEnded{ID: of, Count: ended, Reason: reason})
	})
	return ended, err
}

// EndEverySession ends the sessions of everybody, as EndAllSessions does for each who has any, and returns how many people
// had how many. It does so by some hundred people at a time, each in a transaction of its own: after an error some are done,
// and it can be called again. Whoever signs in meanwhile may stay signed in.
func (s *Service) EndEverySession(ctx context.Context) (identities, ended int, err error) {
	for behind := IdentityID(""); ; {
		some, n, err := s.endSomeSessions(ctx, behind)
		if err != nil || len(some) == 0 {
			return identities, ended, err
		}
		identities, ended, behind = identities+len(some), ended+n, some[len(some)-1]
	}
}

// endSomeSessions ends the sessions of the next identities that have any.
func (s *Service) endSomeSessions(ctx context.Context, behind IdentityID) (some []IdentityID, ended int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if some, err = s.store.identitiesWithSessions(ctx, behind); err != nil || len(some) == 0 {
			return err
		}
		if _, err := s.store.lockIdentities(ctx, some, "NO KEY UPDATE"); err != nil {
			return err
		}
		if err := s.store.bumpVers(ctx, some); err != nil {
			return err
		}
		had, err := s.store.deleteSessionsOfAll(ctx, some)
		if err != nil {
			return err
		}
		ended = 0
		for _, n := range had {
			ended += n
		}
		if err := s.forget(ctx, some...); err != nil {
			return err
		}
		return emitAll(ctx, s.events, some, func(id IdentityID) event.Event {
			return SessionsEnded{ID: id, Count: had[id], Reason: EndedByOperator}
		})
	})
	return some, ended, err
}
