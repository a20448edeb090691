package main

import (
	"encoding/json"
	"net/http"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/link"
)

// store is the shop's routes.
type store struct {
	*http.ServeMux
	links *link.Service
}

func newStore(api *httpapi.API, links *link.Service) *store {
	s := &store{http.NewServeMux(), links}
	s.Handle("GET /store/customers/me", api.RequireActor("customer", http.HandlerFunc(s.me)))
	s.Handle("DELETE /store/customers/me", api.RequireActor("customer", http.HandlerFunc(s.leave)))
	return s
}

// me shows the customer who calls.
func (s *store) me(w http.ResponseWriter, r *http.Request) {
	c, _ := httpapi.CallerOf(r.Context()).Actor.Record.(customer)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"customer": map[string]any{ //nolint:errcheck // the caller has gone: there is nobody to tell
		"id": c.ID, "email": c.Email, "name": c.Name, "points": c.Points,
	}})
}

// leave deletes the customer who calls, and what they sign in with, unless they sign in with it as somebody else, too.
func (s *store) leave(w http.ResponseWriter, r *http.Request) {
	if err := s.links.DeleteActors(r.Context(), "customer", httpapi.CallerOf(r.Context()).Actor.ID); err != nil {
		http.Error(w, `{"message":"An unknown error occurred."}`, http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
