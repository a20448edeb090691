package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// webhookRoutes are the pages about webhooks.
func (c *Console) webhookRoutes() []route {
	return []route{
		{"/webhooks", c.within(listWebhooks), nil},
		{"/webhooks/new", c.within(newWebhook), c.within(createWebhook)},
		{"/webhooks/{id}", c.within(openWebhook), nil},
		{"/webhooks/{id}/edit", c.within(editWebhook), c.within(saveWebhook)},
		{"/webhooks/{id}/test", nil, c.within(testWebhook)},
		{"/webhooks/{id}/enable", nil, c.within(enableWebhook)},
		{"/webhooks/{id}/disable", c.within(asksOfWebhook("disable")), c.within(disableWebhook)},
		{"/webhooks/{id}/rotate", c.within(asksOfWebhook("rotate")), c.within(rotateWebhook)},
		{"/webhooks/{id}/delete", c.within(asksOfWebhook("delete")), c.within(deleteWebhook)},
	}
}

const (
	webhooksPage   = 100 // as many as there may be
	deliveriesPage = 20
)

// errMayNotManage is said before a form is filled in that would come to nothing. What may be done, the API decides.
var errMayNotManage = says(fault.Forbidden, "may_not_manage")

var errNoTopics = says(fault.Invalid, "topics_missing")

// webhook is one as the API shows it.
type webhook struct {
	ID, URL, Description string
	Topics               []string
	Enabled              bool
	DisabledAt           time.Time `json:"disabled_at"`
	DisabledReason       string    `json:"disabled_reason"`
	ActiveSecrets        int       `json:"active_secrets"`
	CreatedAt            time.Time `json:"created_at"`
	UpdatedAt            time.Time `json:"updated_at"`
	Secret               string    // in the answer that makes it
}

// Name is what the page calls it.
func (w webhook) Name() string {
	if u, err := url.Parse(w.URL); err == nil && u.Host != "" {
		return u.Host
	}
	return w.ID
}

// At is a page about the webhook; what is empty: the webhook's own.
func (w webhook) At(what string) string { return webhookPath(w.ID, what) }

func webhookPath(id, what string) string {
	return strings.TrimSuffix("/webhooks/"+url.PathEscape(id)+"/"+what, "/")
}

// Version says which state of the webhook a form was made for.
func (w webhook) Version() string { return w.UpdatedAt.Format(time.RFC3339Nano) }

// attempt is one attempt to deliver an event to a webhook.
type attempt struct {
	ID, Topic, Error string
	EventID          string `json:"event_id"`
	Attempt, Status  int
	SentAt           time.Time `json:"sent_at"`
	DurationMS       int64     `json:"duration_ms"`
}

func listWebhooks(in *inside) error {
	var list struct {
		Webhooks []webhook
		Count    int
		Search   string
		State    string
		Manages  bool
	}
	if err := in.api(http.MethodGet, "/admin/webhooks?limit="+strconv.Itoa(webhooksPage), nil, &list); err != nil {
		return err
	}
	q := in.r.URL.Query()
	list.Search, list.Manages = strings.TrimSpace(q.Get("q")), in.may("webhook:manage")
	if state := q.Get("state"); state == "enabled" || state == "disabled" {
		list.State = state
	}
	sought := strings.ToLower(list.Search)
	list.Webhooks = slices.DeleteFunc(list.Webhooks, func(w webhook) bool {
		return !strings.Contains(strings.ToLower(w.URL+" "+w.Description+" "+w.ID), sought) || list.State != "" && w.Enabled != (list.State == "enabled")
	})
	return in.show("webhooks", view{Title: "webhooks.title", Data: list})
}

// webhookForm is the form that makes or changes a webhook.
type webhookForm struct {
	Action string
	ID     string // of the one that is made
	Makes  bool
	Every  bool // it hears of everything
	Groups []topicGroup
	Cancel string
}

// topicGroup are topics that begin alike.
type topicGroup struct {
	Name   string
	Topics []topicChoice
}

type topicChoice struct {
	Name   string
	Chosen bool
}

// webhookForm is the form with what was chosen in it.
func (in *inside) webhookForm(f form) (webhookForm, error) {
	var answer struct{ Topics []string }
	if err := in.api(http.MethodGet, "/admin/webhooks/topics", nil, &answer); err != nil {
		return webhookForm{}, err
	}
	shown := webhookForm{Every: f.Value("hears") != "some"}
	for _, topic := range answer.Topics {
		family, _, _ := strings.Cut(topic, ".")
		i := slices.IndexFunc(shown.Groups, func(g topicGroup) bool { return g.Name == family })
		if i < 0 {
			i = len(shown.Groups)
			shown.Groups = append(shown.Groups, topicGroup{Name: family})
		}
		shown.Groups[i].Topics = append(shown.Groups[i].Topics, topicChoice{topic, slices.Contains(f.Values("topic"), topic)})
	}
	return shown, nil
}

// sent is what a form says of a webhook, as the API takes it.
func (f form) webhook() (map[string]any, error) {
	topics := []string{}
	if f.Value("hears") == "some" {
		if topics = append(topics, f.Values("topic")...); len(topics) == 0 {
			return nil, errNoTopics
		}
	}
	return map[string]any{"url": strings.TrimSpace(f.Value("url")), "description": strings.TrimSpace(f.Value("description")), "topics": topics}, nil
}

// newWebhook asks for a webhook. The form has the id of the one to be, so that it makes no second one when it is sent again: the
// page that answers it shows the secret, and to load that page again sends the form again.
func newWebhook(in *inside) error {
	if !in.may("webhook:manage") {
		return errMayNotManage
	}
	return in.showNewWebhook(filled("id", id.New("whep")), nil)
}

func (in *inside) showNewWebhook(f form, wrong error) error {
	shown, err := in.webhookForm(f)
	if err != nil {
		return err
	}
	shown.Action, shown.Makes, shown.ID, shown.Cancel = "/webhooks/new", true, f.Value("id"), "/webhooks"
	if !id.Valid("whep", shown.ID) { // a form that is not ours
		shown.ID = id.New("whep")
	}
	return in.showWebhookForm(view{Title: "webhooks.add", Back: &crumb{"/webhooks", "webhooks.title"}, Form: f, Data: shown}, wrong)
}

// showWebhookForm shows the form with what is wrong in it.
func (in *inside) showWebhookForm(v view, wrong error) error {
	if wrong != nil {
		if v.Problem = problemOf(wrong); v.Problem == nil {
			return wrong
		}
		switch faultReason(wrong) {
		case "webhook_url_invalid":
			v.Problem.Fields = []string{"url"}
		case "webhook_value_invalid":
			if v.Problem.Fields = []string{v.Problem.Detail}; v.Problem.Detail == "topics" {
				v.Problem.Fields = []string{"hears"}
			}
		case errNoTopics.Reason:
			v.Problem.Fields = []string{"hears"}
		}
	}
	return in.show("webhook_form", v)
}

// faultReason is the reason of a fault; empty: it is none.
func faultReason(err error) string {
	if f, ok := fault.Of(err); ok {
		return f.Reason
	}
	return ""
}

// refusedWebhook reports whether an error is about what was typed, so that the form is shown again.
func refusedWebhook(err error) bool {
	kind := fault.KindOf(err)
	return err != nil && !errors.Is(err, errSignedOut) && (kind == fault.Invalid || kind == fault.Conflict)
}

func createWebhook(in *inside) error {
	f, err := in.own()
	if errors.Is(err, errOtherAccount) {
		return in.showNewWebhook(f, err)
	}
	if err != nil {
		return err
	}
	body, err := f.webhook()
	if err != nil {
		return in.showNewWebhook(f, err)
	}
	if body["id"] = f.Value("id"); body["id"] == "" {
		return errForm
	}
	var answer struct{ Webhook webhook }
	err = in.api(http.MethodPost, "/admin/webhooks", body, &answer)
	switch {
	case faultReason(err) == "webhook_exists":
		return in.done(webhookPath(f.Value("id"), ""), "webhook_sent_already", "")
	case refusedWebhook(err):
		return in.showNewWebhook(f, err)
	case err != nil:
		return err
	}
	return in.showSecret("webhooks.made_title", answer.Webhook)
}

// showSecret answers the form that has made a secret with it: it is on this page, and nowhere else.
func (in *inside) showSecret(title string, w webhook) error {
	return in.show("webhook_secret", view{Title: title, About: w.Name(), Back: &crumb{"/webhooks", "webhooks.title"}, Data: struct {
		Webhook webhook
		Copy    struct{ ID, Text string }
	}{w, struct{ ID, Text string }{"webhook-secret", w.Secret}}})
}

// webhook asks for the webhook of the path.
func (in *inside) webhook() (webhook, error) {
	var answer struct{ Webhook webhook }
	err := in.api(http.MethodGet, in.webhookAPI(""), nil, &answer)
	return answer.Webhook, err
}

// webhookAPI is the path of the API about the webhook of the page's path.
func (in *inside) webhookAPI(what string) string {
	return "/admin" + webhookPath(in.r.PathValue("id"), what)
}

func openWebhook(in *inside) error {
	w, err := in.webhook()
	if err != nil {
		return err
	}
	shown := struct {
		Webhook         webhook
		Deliveries      []attempt
		Next            string
		Failed, Later   bool // the failed ones alone; not the first page
		Tested          *attempt
		Manages, Events bool
	}{Webhook: w, Manages: in.may("webhook:manage"), Events: in.may("event:read")}
	q := in.r.URL.Query()
	asked := url.Values{"limit": {strconv.Itoa(deliveriesPage)}}
	if shown.Failed = q.Get("failed") == "true"; shown.Failed {
		asked.Set("failed", "true")
	}
	if after := q.Get("after"); after != "" {
		asked.Set("after", after)
		shown.Later = true
	}
	if err := in.api(http.MethodGet, in.webhookAPI("deliveries?"+asked.Encode()), nil, &shown); err != nil {
		return err
	}
	if shown.Next != "" {
		next := url.Values{"after": {shown.Next}}
		if shown.Failed {
			next.Set("failed", "true")
		}
		shown.Next = w.At("") + "?" + next.Encode()
	}
	if i := slices.IndexFunc(shown.Deliveries, func(a attempt) bool { return a.ID == q.Get("tested") }); i >= 0 {
		shown.Tested = &shown.Deliveries[i]
	}
	return in.show("webhook", view{Title: "webhooks.one_title", About: w.Name(), Back: &crumb{"/webhooks", "webhooks.title"}, Data: shown})
}

func editWebhook(in *inside) error {
	if !in.may("webhook:manage") {
		return errMayNotManage
	}
	w, err := in.webhook()
	if err != nil {
		return err
	}
	f := filled("url", w.URL, "description", w.Description)
	if f.values["topic"] = w.Topics; len(w.Topics) > 0 {
		f.values.Set("hears", "some")
	}
	return in.showEditWebhook(f, w.ID, nil)
}

func (in *inside) showEditWebhook(f form, of string, wrong error) error {
	shown, err := in.webhookForm(f)
	if err != nil {
		return err
	}
	shown.Action, shown.Cancel = webhookPath(of, "edit"), webhookPath(of, "")
	return in.showWebhookForm(view{Title: "webhooks.edit_title", Back: &crumb{webhookPath(of, ""), "webhooks.back"}, Form: f, Data: shown}, wrong)
}

func saveWebhook(in *inside) error {
	f, err := in.own()
	of := in.r.PathValue("id")
	if errors.Is(err, errOtherAccount) {
		return in.showEditWebhook(f, of, err)
	}
	if err != nil {
		return err
	}
	body, err := f.webhook()
	if err == nil {
		err = in.api(http.MethodPost, in.webhookAPI(""), body, nil)
	}
	switch {
	case refusedWebhook(err):
		return in.showEditWebhook(f, of, err)
	case err != nil:
		return err
	}
	return in.done(webhookPath(of, ""), "webhook_saved", "")
}

// testWebhook sends a test, and goes to the page that shows what came of it, which to load again sends nothing.
func testWebhook(in *inside) error {
	var answer struct{ Delivery attempt }
	if err := in.api(http.MethodPost, in.webhookAPI("test"), nil, &answer); err != nil {
		return err
	}
	return in.c.redirect(in.w, webhookPath(in.r.PathValue("id"), "")+"?"+url.Values{"tested": {answer.Delivery.ID}}.Encode())
}

func enableWebhook(in *inside) error { return in.switchWebhook(true, "webhook_enabled") }

func disableWebhook(in *inside) error { return in.switchWebhook(false, "webhook_disabled") }

func (in *inside) switchWebhook(on bool, said string) error {
	if err := in.api(http.MethodPost, in.webhookAPI(""), map[string]any{"enabled": on}, nil); err != nil {
		return err
	}
	return in.done(webhookPath(in.r.PathValue("id"), ""), said, "")
}

// asksOfWebhook is a page that asks before something is done that cannot be undone.
func asksOfWebhook(what string) insider {
	return func(in *inside) error {
		if !in.may("webhook:manage") {
			return errMayNotManage
		}
		w, err := in.webhook()
		if err != nil {
			return err
		}
		return in.askOfWebhook(what, w, nil)
	}
}

func (in *inside) askOfWebhook(what string, w webhook, wrong error) error {
	return in.showAgain("webhook_ask", view{Title: "webhooks." + what + "_title", About: w.Name(), Back: &crumb{w.At(""), "webhooks.back"}, Data: struct {
		What    string
		Webhook webhook
	}{what, w}}, wrong)
}

// overlaps are how long the secrets of before may go on signing, in seconds, as the form offers it.
var overlaps = map[string]int{"hour": 60 * 60, "day": 24 * 60 * 60, "week": 7 * 24 * 60 * 60}

// rotateWebhook makes another secret, and shows it. The form says which state of the webhook it was made for, so that it makes no
// further secret when it is sent again.
func rotateWebhook(in *inside) error {
	f, err := in.form()
	if err != nil {
		return err
	}
	body := map[string]any{"updated_at": f.Value("version")}
	switch seconds, ok := overlaps[f.Value("overlap")]; {
	case ok:
		body["overlap"] = seconds
	case f.Value("overlap") == "now":
		body["now"] = true
	default:
		return errForm
	}
	var answer struct{ Webhook webhook }
	err = in.api(http.MethodPost, in.webhookAPI("rotate-secret"), body, &answer)
	switch {
	case faultReason(err) == "webhook_changed":
		err = errRotatedAlready
		fallthrough
	case refusedWebhook(err):
		w, missing := in.webhook()
		if missing != nil {
			return missing
		}
		return in.askOfWebhook("rotate", w, err)
	case err != nil:
		return err
	}
	return in.showSecret("webhooks.rotated_title", answer.Webhook)
}

var errRotatedAlready = says(fault.Conflict, "webhook_rotated_already")

func deleteWebhook(in *inside) error {
	w, err := in.webhook()
	if faultReason(err) == "webhook_not_found" {
		return in.done("/webhooks", "webhook_deleted_already", "")
	}
	if err == nil {
		err = in.api(http.MethodDelete, in.webhookAPI(""), nil, nil)
	}
	if err != nil {
		return err
	}
	return in.done("/webhooks", "webhook_deleted", w.Name())
}
