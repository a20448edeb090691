package console

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

const (
	sessionsPath = accountPath + "/sessions"
	sessionsPage = 20  // how many a page shows
	deepest      = 200 // pages: who has more sessions than that ends them all at once
)

var errNoSession = fault.New(fault.NotFound, "session_not_found", "You are not signed in there any more.")

// shownSession is a session as the API shows it.
type shownSession struct {
	ID        string
	Current   bool
	ActorType string    `json:"actor_type"`
	Provider  string    `json:"auth_provider"`
	UserAgent string    `json:"user_agent"`
	IP        string    `json:"ip"`
	CreatedAt time.Time `json:"created_at"`
	LastUsed  time.Time `json:"last_used_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Device is what the user agent says of what is signed in.
func (s shownSession) Device() device { return deviceOf(s.UserAgent) }

// Elsewhere is as what the session is signed in, if that is not a user.
func (s shownSession) Elsewhere() string {
	if s.ActorType == link.ActorUser {
		return ""
	}
	return s.ActorType
}

type sessionsAnswer struct {
	Sessions []shownSession
	Count    int
}

// sessionsView is a page of the sessions.
type sessionsView struct {
	sessionsAnswer
	Newer, Older int // pages; 0: none
}

func (in *inside) ownSessions(limit, offset int) (a sessionsAnswer, err error) {
	return a, in.api(http.MethodGet, fmt.Sprintf("/auth/sessions?limit=%d&offset=%d", limit, offset), nil, &a)
}

func openSessions(in *inside) error {
	page, err := strconv.Atoi(in.r.URL.Query().Get("page"))
	if err != nil || page < 1 || page > deepest {
		page = 1
	}
	a, err := in.ownSessions(sessionsPage, (page-1)*sessionsPage)
	if err != nil {
		return err
	}
	data := sessionsView{sessionsAnswer: a, Newer: page - 1}
	if page < deepest && page*sessionsPage < a.Count {
		data.Older = page + 1
	}
	return in.show("sessions", view{Title: "sessions.title", Data: data})
}

// askEndSession shows a session of the visitor's, and asks whether it is to end.
func askEndSession(in *inside) error {
	v, err := in.sessionView()
	if err != nil {
		return err
	}
	return in.show("session", v)
}

func (in *inside) sessionView() (v view, err error) {
	a, err := in.ownSessions(1000, 0)
	if err != nil {
		return v, err
	}
	for _, s := range a.Sessions {
		if s.ID == in.r.PathValue("id") {
			return view{Title: "sessions.end_title", Back: &crumb{sessionsPath, "sessions.title"}, Data: s}, nil
		}
	}
	return v, errNoSession
}

// endSession ends it. One that has ended meanwhile is as good.
func endSession(in *inside) error {
	if _, err := in.own(); err != nil {
		v, gone := in.sessionView()
		if gone != nil {
			return gone
		}
		return in.wrong("session", v, err, nil)
	}
	id := in.r.PathValue("id")
	if id == in.visitor.Session() { // which is signing out
		return in.c.logout(in.w, in.r)
	}
	if err := in.api(http.MethodDelete, apiPath("/auth/sessions/", id), nil, nil); err != nil {
		return err
	}
	return in.done(sessionsPath, "session_ended", "")
}

func othersView() view {
	return view{Title: "sessions.end_others_title", Back: &crumb{sessionsPath, "sessions.title"}}
}

func askEndOthers(in *inside) error { return in.show("sessions_others", othersView()) }

func endOthers(in *inside) error {
	if _, err := in.own(); err != nil {
		return in.wrong("sessions_others", othersView(), err, nil)
	}
	var ended struct{ Count int }
	if err := in.api(http.MethodDelete, "/auth/sessions", nil, &ended); err != nil {
		return err
	}
	return in.done(sessionsPath, "sessions_ended", strconv.Itoa(ended.Count))
}
