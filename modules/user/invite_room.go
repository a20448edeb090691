package user

import (
	"context"
	"math"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// room is how many more invites can be pending. Transactions that take of it at the same moment do not see each other:
// together they may go beyond the bound by what they make.
type room struct{ left, bound int }

// room is what Options.InviteMaxPending leaves.
func (s *Service) room(ctx context.Context) (*room, error) {
	if s.inviteMaxPending == 0 {
		return &room{left: math.MaxInt}, nil
	}
	n, err := s.store.countPending(ctx)
	return &room{s.inviteMaxPending - n, s.inviteMaxPending}, err
}

// take makes one invite pending, or says that there is no room for it.
func (r *room) take() error {
	if r.left <= 0 {
		return ErrInvitesFull.Msg("There may be at most %d invites open at a time. Withdraw some, or wait until they are accepted or expire.", r.bound)
	}
	r.left--
	return nil
}

// pending reports whether the invite can be accepted, and takes room by that: the set-up link does not.
func (r *inviteRow) pending() bool {
	return r.Email != "" && !r.Accepted && r.ExpiresAt.After(database.Now())
}

// refuseBeyondRoom returns those of the rows that there is room for, and those that need none because their address has a
// pending invite, or a row before: of these inserting tells.
func (s *Service) refuseBeyondRoom(ctx context.Context, rows []*inviteRow, bad *badItems) (fit []*inviteRow, err error) {
	room, err := s.room(ctx)
	if err != nil || len(rows) <= room.left {
		return rows, err
	}
	taken, err := s.store.invited(ctx, inviteEmails(rows))
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if !taken[r.Email] {
			if err := room.take(); err != nil {
				if err := bad.add(r.index, err); err != nil {
					return nil, err
				}
				continue
			}
			taken[r.Email] = true
		}
		fit = append(fit, r)
	}
	return fit, nil
}
