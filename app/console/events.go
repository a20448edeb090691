package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// eventRoutes are the pages about events and dead letters.
func (c *Console) eventRoutes() []route {
	return []route{
		{"/events", c.within(listEvents), nil},
		{"/events/consumers", c.within(listConsumers), nil},
		{"/events/retry", nil, c.within(retryEvents)},
		{"/events/discard", c.within(askDiscard), c.within(discardEvents)},
	}
}

const (
	eventsPage = 25
	maxOffset  = 10_000 // further in, the database would count its way through what nobody reads: a filter leads there
)

// delivery is one that was not made yet, or never will be.
type delivery struct {
	ID, Topic, Aggregate, Consumer, Target, Error, State string
	Attempts                                             int
	RecordedAt                                           time.Time `json:"recorded_at"`
	NextAt                                               time.Time `json:"next_at"`
	DeadAt                                               time.Time `json:"dead_at"`
}

// Only is the filter of this delivery alone.
func (d delivery) Only() eventFilter {
	return eventFilter{ID: d.ID, Consumer: d.Consumer, Target: d.Target}
}

// consumer is who is told of events.
type consumer struct {
	Name, Target  string
	Topics        []string
	Since         time.Time
	Waiting, Dead int
	OldestAt      time.Time `json:"oldest_at"`
}

// Waits is the filter of what waits for the consumer, and Dies that of its dead letters.
func (c consumer) Waits() eventFilter { return eventFilter{Consumer: c.Name, Target: c.Target} }
func (c consumer) Dies() eventFilter {
	return eventFilter{Consumer: c.Name, Target: c.Target, Dead: true}
}

// eventFilter says which deliveries a page is about.
type eventFilter struct {
	ID, Consumer, Target, Topic string
	Dead                        bool
}

func eventFilterOf(q url.Values) eventFilter {
	of := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	return eventFilter{of("id"), of("consumer"), of("target"), of("topic"), q.Get("dead") == "true"}
}

// All reports whether it leaves nothing out.
func (f eventFilter) All() bool { return f == eventFilter{} }

// values are the filter as a query string has it, of the pages and of the API.
func (f eventFilter) values() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"id": f.ID, "consumer": f.Consumer, "target": f.Target, "topic": f.Topic} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.Dead {
		q.Set("dead", "true")
	}
	return q
}

// Encoded is the filter as a form has it that comes back to it; empty: everything.
func (f eventFilter) Encoded() string { return f.values().Encode() }

// Page is the list that it leaves.
func (f eventFilter) Page() string { return "/events" + queried(f.values()) }

// body is the filter as the API's routes that do something take it. That everything is meant, it says only if it was said.
func (f eventFilter) body(all bool) map[string]any {
	body := map[string]any{}
	for name, value := range f.values() {
		body[name] = value[0]
	}
	if f.Dead {
		body["dead"] = true
	}
	if all {
		body["all"] = true
	}
	return body
}

func queried(q url.Values) string {
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

type eventList struct {
	Deliveries []delivery
	Count      int

	Filter           eventFilter
	From, To         int
	Newer, Older     string // the pages before and after this one, behind the console's path; empty: there is none
	Cut              bool   // there is more than pages lead to
	Names            []string
	Waiting, Dead    int // in all
	Manages, Targets bool
}

// Discard is the page that asks before the delivery is dropped, and comes back to this list.
func (l eventList) Discard(d delivery) string { return discardPage(d.Only(), l.Filter) }

// DiscardAll is the page that asks before everything is dropped that the list holds.
func (l eventList) DiscardAll() string { return discardPage(l.Filter, l.Filter) }

func discardPage(f, back eventFilter) string {
	q := f.values()
	if !back.All() {
		q.Set("back", back.Encoded())
	}
	return "/events/discard" + queried(q)
}

func listEvents(in *inside) error {
	q := in.r.URL.Query()
	f := eventFilterOf(q)
	offset, err := strconv.Atoi(q.Get("offset"))
	if err != nil || offset < 0 {
		offset = 0
	}
	offset = min(offset, maxOffset)
	asked := f.values()
	asked.Set("limit", strconv.Itoa(eventsPage))
	asked.Set("offset", strconv.Itoa(offset))
	list := eventList{Filter: f, Manages: in.may("event:manage"), Targets: in.may("webhook:read")}
	if err := in.api(http.MethodGet, "/admin/events?"+asked.Encode(), nil, &list); err != nil {
		return err
	}
	consumers, err := in.consumers()
	if err != nil {
		return err
	}
	for _, c := range consumers {
		if !slices.Contains(list.Names, c.Name) {
			list.Names = append(list.Names, c.Name)
		}
		list.Waiting, list.Dead = list.Waiting+c.Waiting, list.Dead+c.Dead
	}
	if f.Consumer != "" && !slices.Contains(list.Names, f.Consumer) {
		list.Names = append(list.Names, f.Consumer)
	}
	at := func(offset int) string {
		q := f.values()
		if offset > 0 {
			q.Set("offset", strconv.Itoa(offset))
		}
		return "/events" + queried(q)
	}
	list.From, list.To = offset+1, offset+len(list.Deliveries)
	if offset > 0 {
		list.Newer = at(max(0, offset-eventsPage))
	}
	if list.To < list.Count && len(list.Deliveries) > 0 {
		if list.Cut = offset+eventsPage > maxOffset; !list.Cut {
			list.Older = at(offset + eventsPage)
		}
	}
	return in.show("events", view{Title: "events.title", Data: list})
}

func (in *inside) consumers() ([]consumer, error) {
	var answer struct{ Consumers []consumer }
	err := in.api(http.MethodGet, "/admin/events/consumers", nil, &answer)
	return answer.Consumers, err
}

func listConsumers(in *inside) error {
	list, err := in.consumers()
	if err != nil {
		return err
	}
	return in.show("consumers", view{Title: "events.consumers_title", Back: &crumb{"/events", "events.title"}, Data: struct {
		Consumers []consumer
		Targets   bool
	}{list, in.may("webhook:read")}})
}

// retryEvents has what the form names tried now, and goes back to the list that it was in.
func retryEvents(in *inside) error { return in.settleEvents("retry", "events_retried") }

// discardEvents drops what the form names.
func discardEvents(in *inside) error { return in.settleEvents("discard", "events_discarded") }

func (in *inside) settleEvents(do, said string) error {
	f, err := in.form()
	if err != nil {
		return err
	}
	var answer struct{ Count int }
	if err := in.api(http.MethodPost, "/admin/events/"+do, eventFilterOf(f.values).body(f.Value("all") == "true"), &answer); err != nil {
		return err
	}
	return in.done(eventsBack(f.Value("back")).Page(), said, strconv.Itoa(answer.Count))
}

// eventsBack is the filter of a list, as a form has brought it along. Nothing but a filter can come of it.
func eventsBack(encoded string) eventFilter {
	q, err := url.ParseQuery(encoded)
	if err != nil {
		return eventFilter{}
	}
	return eventFilterOf(q)
}

// askDiscard says what would be dropped, and asks.
func askDiscard(in *inside) error {
	if !in.may("event:manage") {
		return errMayNotManage
	}
	q := in.r.URL.Query()
	f := eventFilterOf(q)
	list := struct {
		Count        int
		Filter, Back eventFilter
	}{Filter: f, Back: eventsBack(q.Get("back"))}
	asked := f.values()
	asked.Set("limit", "1")
	if err := in.api(http.MethodGet, "/admin/events?"+asked.Encode(), nil, &list); err != nil {
		return err
	}
	return in.show("events_discard", view{Title: "events.discard_title", Back: &crumb{"/events", "events.title"}, Data: list})
}
