package httpapi

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/strictjson"
	"github.com/latchkey-go/latchkey/modules/user"
)

// shownWay is a way to sign in as an answer shows it to who signs in by it.
type shownWay struct {
	auth.ProviderIdentity
	displayName string
}

// wayAttributes are what a way to sign in shows. What is kept of it beside, secrets above all, is not.
var wayAttributes = []attribute[shownWay]{
	{"id", false, func(w shownWay) any { return w.ID }},
	{"provider", false, func(w shownWay) any { return w.Provider }},
	{"display_name", false, func(w shownWay) any { return w.displayName }},
	{"entity_id", false, func(w shownWay) any { return w.EntityID }},
	{"email", false, func(w shownWay) any { return text(w.Email) }},
	{"email_verified_at", false, func(w shownWay) any { return stamp(w.EmailVerifiedAt) }},
	{"created_at", false, func(w shownWay) any { return stamp(w.CreatedAt) }},
}

type waysAnswer struct {
	Ways []object `json:"provider_identities"`
}

type wayAnswer struct {
	Way object `json:"provider_identity"`
}

func (a *API) showWay(w auth.ProviderIdentity, attributes []attribute[shownWay]) object {
	shown := shownWay{w, w.Provider} // which may be gone from the program
	for _, i := range a.auth.ListAuthProviders() {
		if i.ID == w.Provider {
			shown.displayName = i.DisplayName
		}
	}
	return show(shown, attributes)
}

// listWays lists by what the caller can sign in, actor or not.
func (a *API) listWays(c *call) (waysAnswer, error) {
	attributes, err := readFields(c, wayAttributes)
	if err != nil {
		return waysAnswer{}, err
	}
	ways, err := a.link.Ways(c.Context(), c.caller.session)
	if errors.Is(err, auth.ErrSession) {
		err = errUnauthorized
	}
	answer := waysAnswer{make([]object, len(ways))}
	for i, w := range ways {
		answer.Ways[i] = a.showWay(w, attributes)
	}
	return answer, err
}

// listWaysOf lists by what a user can sign in.
func (a *API) listWaysOf(c *call) (waysAnswer, error) {
	attributes, err := readFields(c, wayAttributes)
	if err != nil {
		return waysAnswer{}, err
	}
	ways, err := a.link.WaysOf(c.Context(), user.ID(c.PathValue("id")))
	answer := waysAnswer{make([]object, len(ways))}
	for i, w := range ways {
		answer.Ways[i] = a.showWay(w, attributes)
	}
	return answer, err
}

// linkWay gives the caller another way to sign in. current_password in the body is theirs of now, and the rest is the provider's.
// Of two steps it begins the first; next is where the browser goes after the second.
func (a *API) linkWay(c *call, in auth.Input) (outcome, error) {
	attributes, err := readFields(c, wayAttributes)
	if err != nil {
		return outcome{}, err
	}
	if c.caller.session.ActorType != c.PathValue("actor") {
		return outcome{}, errUnauthorized
	}
	var current, next optional[string]
	rest, err := without(in, map[string]*optional[string]{"current_password": &current, "next": &next})
	if err != nil {
		return outcome{}, err
	}
	again, err := a.provingAgain(c, current)
	if err != nil {
		return outcome{}, err
	}
	if c.inTwoSteps(a) {
		out, err := a.beginLink(c, again, rest, next.or())
		if errors.Is(err, auth.ErrSession) {
			err = errUnauthorized
		}
		return out, err
	}
	way, err := a.link.LinkProvider(c.Context(), c.caller.session, again, c.PathValue("provider"), rest)
	switch {
	case errors.Is(err, auth.ErrSession):
		return outcome{}, errUnauthorized
	case err != nil:
		return outcome{}, err
	}
	return outcome{body: wayAnswer{a.showWay(way, attributes)}}, nil
}

// without takes what is ours out of what is for a provider.
func without(in auth.Input, ours map[string]*optional[string]) (rest auth.Input, err error) {
	members := map[string]json.RawMessage{}
	if err := strictjson.Unmarshal(in, &members); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		raw, sent := members[name]
		if p := ours[name].read(name, raw, sent); p != "" {
			return nil, errBody.Msg("Invalid request: %s", p)
		}
		delete(members, name)
	}
	return json.Marshal(members)
}

type unlinkedAnswer struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Deleted bool   `json:"deleted"`
	Token   string `json:"token,omitempty"` // in place of the one the caller came with, which is dead
}

// unlinkWay takes a way to sign in from the caller. Of somebody else's it says what it says of one that is not there.
func (a *API) unlinkWay(c *call, in provedAgain) (unlinkedAnswer, error) {
	if _, err := readQuery(c); err != nil {
		return unlinkedAnswer{}, err
	}
	again, err := a.provingAgain(c, in.CurrentPassword)
	if err != nil {
		return unlinkedAnswer{}, err
	}
	id := c.PathValue("id")
	now, token, err := a.link.UnlinkProvider(c.Context(), c.caller.session, again, id)
	if err == nil {
		token, err = a.goOn(c, now, token)
	}
	if errors.Is(err, auth.ErrSession) {
		err = errUnauthorized
	}
	return unlinkedAnswer{id, "provider_identity", err == nil, token}, err
}

// createUser makes the bearer, who is nobody yet, a user by the address that their provider vouches for. The body is not read:
// nothing that a client writes decides who they are.
func (a *API) createUser(c *call) (userAnswer, error) {
	attributes, err := readFields(c, userAttributes)
	if err != nil {
		return userAnswer{}, err
	}
	u, err := a.link.CreateFromSession(c.Context(), c.caller.session, c.PathValue("provider"))
	if errors.Is(err, auth.ErrSession) {
		err = errUnauthorized
	}
	return userAnswer{show(u, attributes)}, err
}
