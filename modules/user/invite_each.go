package user

import "context"

// InviteResult is what became of one draft of InviteEach.
type InviteResult struct {
	Invite Invite
	Err    error // why there is no invite, a fault; nil: there is
}

// InviteEach is CreateInvites for drafts that stand alone: it makes those of the invites that can be made, and says of each
// other why not, in the order of the drafts. An address that comes twice is invited once, as the first draft says. The
// error is about all of them: nothing was made.
func (s *Service) InviteEach(ctx context.Context, drafts ...InviteDraft) ([]InviteResult, error) {
	made, bad, err := s.makeInvites(ctx, drafts, func(*badItems) error { return nil })
	if err != nil || len(drafts) == 0 {
		return nil, err
	}
	results := make([]InviteResult, len(drafts))
	for _, r := range made {
		results[r.index].Invite = r.invite()
	}
	for _, item := range bad.items {
		results[item.Index].Err = item.Err
	}
	return results, nil
}
