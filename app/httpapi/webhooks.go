package httpapi

import (
	"time"

	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// webhookAttributes are what a webhook shows. Its secret is shown when it is made, and at no other time.
var webhookAttributes = []attribute[webhook.Endpoint]{
	{"id", false, func(e webhook.Endpoint) any { return e.ID }},
	{"url", false, func(e webhook.Endpoint) any { return e.URL }},
	{"topics", false, func(e webhook.Endpoint) any { return append([]string{}, e.Topics...) }},
	{"description", false, func(e webhook.Endpoint) any { return text(e.Description) }},
	{"enabled", false, func(e webhook.Endpoint) any { return e.Enabled() }},
	{"disabled_at", false, func(e webhook.Endpoint) any { return stamp(e.DisabledAt) }},
	{"disabled_reason", false, func(e webhook.Endpoint) any { return text(e.DisabledReason) }},
	{"active_secrets", false, func(e webhook.Endpoint) any { return e.Secrets }},
	{"created_at", false, func(e webhook.Endpoint) any { return stamp(e.CreatedAt) }},
	{"updated_at", false, func(e webhook.Endpoint) any { return stamp(e.UpdatedAt) }},
}

// webhookDeliveryAttributes are what an attempt to deliver shows.
var webhookDeliveryAttributes = []attribute[webhook.Delivery]{
	{"id", false, func(d webhook.Delivery) any { return d.ID }},
	{"webhook_id", false, func(d webhook.Delivery) any { return d.Endpoint }},
	{"event_id", false, func(d webhook.Delivery) any { return d.EventID }},
	{"topic", false, func(d webhook.Delivery) any { return d.Topic }},
	{"attempt", false, func(d webhook.Delivery) any { return d.Attempt }},
	{"sent_at", false, func(d webhook.Delivery) any { return stamp(d.At) }},
	{"duration_ms", false, func(d webhook.Delivery) any { return d.Duration.Milliseconds() }},
	{"status", false, func(d webhook.Delivery) any {
		if d.Status == 0 {
			return nil
		}
		return d.Status
	}},
	{"error", false, func(d webhook.Delivery) any { return text(d.Error) }},
}

type webhookAnswer struct {
	Webhook object `json:"webhook"`
}

type webhooksAnswer struct {
	Webhooks []object `json:"webhooks"`
	Count    int      `json:"count"`
	Offset   int      `json:"offset"`
	Limit    int      `json:"limit"`
}

type webhookDeliveryAnswer struct {
	Delivery object `json:"delivery"`
}

type webhookDeliveriesAnswer struct {
	Deliveries []object `json:"deliveries"`
	Limit      int      `json:"limit"`
	Next       string   `json:"next,omitempty"`
}

// WebhookJSON is a webhook as answers show it, with its secret if that was made just now.
func WebhookJSON(e webhook.Endpoint, made *webhook.Secret) any {
	return webhookAnswer{webhookObject(e, webhookAttributes, made)}
}

// WebhooksJSON is what GET /admin/webhooks answers.
func WebhooksJSON(endpoints []webhook.Endpoint, count, offset, limit int) any {
	return showWebhooks(endpoints, webhookAttributes, count, offset, limit)
}

// WebhookDeliveryJSON is what POST /admin/webhooks/{id}/test answers.
func WebhookDeliveryJSON(d webhook.Delivery) any {
	return webhookDeliveryAnswer{show(d, webhookDeliveryAttributes)}
}

// WebhookDeliveriesJSON is what GET /admin/webhooks/{id}/deliveries answers to a limit, of up to one more than that.
func WebhookDeliveriesJSON(deliveries []webhook.Delivery, limit int) any {
	return showDeliveries(deliveries, webhookDeliveryAttributes, limit)
}

func webhookObject(e webhook.Endpoint, attributes []attribute[webhook.Endpoint], made *webhook.Secret) object {
	o := show(e, attributes)
	if made != nil {
		o = append(o, pair{"secret", made.Reveal()})
	}
	return o
}

func showWebhooks(endpoints []webhook.Endpoint, attributes []attribute[webhook.Endpoint], count, offset, limit int) webhooksAnswer {
	answer := webhooksAnswer{make([]object, len(endpoints)), count, offset, limit}
	for i, e := range endpoints {
		answer.Webhooks[i] = show(e, attributes)
	}
	return answer
}

func showDeliveries(deliveries []webhook.Delivery, attributes []attribute[webhook.Delivery], limit int) webhookDeliveriesAnswer {
	answer := webhookDeliveriesAnswer{Deliveries: []object{}, Limit: limit}
	if len(deliveries) > limit {
		deliveries = deliveries[:limit]
		answer.Next = deliveries[limit-1].ID
	}
	for _, d := range deliveries {
		answer.Deliveries = append(answer.Deliveries, show(d, attributes))
	}
	return answer
}

var errNoWebhooks = fault.New(fault.NotFound, "no_webhooks", "There are no webhooks here.")

// webhooked is a handler of a route that needs webhooks.
func webhooked[Out any](a *API, f func(*call) (Out, error)) func(*call) (Out, error) {
	return func(c *call) (out Out, err error) {
		if a.webhooks == nil {
			return out, errNoWebhooks
		}
		return f(c)
	}
}

// webhookedWith is webhooked with a body.
func webhookedWith[In, Out any](a *API, f func(*call, In) (Out, error)) func(*call, In) (Out, error) {
	return func(c *call, in In) (out Out, err error) {
		if a.webhooks == nil {
			return out, errNoWebhooks
		}
		return f(c, in)
	}
}

func webhookOf(c *call) webhook.EndpointID { return webhook.EndpointID(c.PathValue("id")) }

func (a *API) listWebhooks(c *call) (webhooksAnswer, error) {
	q, err := readQuery(c, "limit", "offset", "fields")
	if err != nil {
		return webhooksAnswer{}, err
	}
	page, err := q.page()
	if err != nil {
		return webhooksAnswer{}, err
	}
	endpoints, count, err := a.webhooks.ListEndpoints(c.Context(), webhook.Page{Limit: page.Limit, Offset: page.Offset})
	return showWebhooks(endpoints, choose(webhookAttributes, q["fields"]), count, page.Offset, shown(page)), err
}

type topicsAnswer struct {
	Topics []string `json:"topics"`
}

// listTopics lists what a webhook can name.
func (a *API) listTopics(c *call) (topicsAnswer, error) {
	_, err := readQuery(c)
	return topicsAnswer{a.webhooks.Topics()}, err
}

type createWebhook struct {
	ID          optional[string]   `json:"id"` // of the caller's own, so that a request that is sent again makes no second one
	URL         required[string]   `json:"url"`
	Topics      optional[[]string] `json:"topics"`
	Description optional[string]   `json:"description"`
}

func (a *API) createWebhook(c *call, in createWebhook) (webhookAnswer, error) {
	attributes, err := readFields(c, webhookAttributes)
	if err != nil {
		return webhookAnswer{}, err
	}
	if in.ID.sent && in.ID.or() == "" {
		return webhookAnswer{}, errBody.Msg("Invalid request: 'id' must not be empty")
	}
	e, secret, err := a.webhooks.CreateEndpoint(c.Context(), webhook.EndpointDraft{ID: webhook.EndpointID(in.ID.or()), URL: in.URL.value, Topics: in.Topics.or(), Description: in.Description.or()})
	if err != nil {
		return webhookAnswer{}, err
	}
	return webhookAnswer{webhookObject(e, attributes, &secret)}, nil
}

func (a *API) retrieveWebhook(c *call) (webhookAnswer, error) {
	attributes, err := readFields(c, webhookAttributes)
	if err != nil {
		return webhookAnswer{}, err
	}
	e, err := a.webhooks.RetrieveEndpoint(c.Context(), webhookOf(c))
	return webhookAnswer{show(e, attributes)}, err
}

type updateWebhook struct {
	URL         optional[string]   `json:"url"`
	Topics      optional[[]string] `json:"topics"`
	Description optional[string]   `json:"description"`
	Enabled     optional[bool]     `json:"enabled"`
}

func (a *API) updateWebhook(c *call, in updateWebhook) (webhookAnswer, error) {
	attributes, err := readFields(c, webhookAttributes)
	if err != nil {
		return webhookAnswer{}, err
	}
	for name, null := range map[string]bool{"url": in.URL.sent && in.URL.value == nil, "enabled": in.Enabled.sent && in.Enabled.value == nil} {
		if null {
			return webhookAnswer{}, errBody.Msg("Invalid request: '%s' must not be null", name)
		}
	}
	u := webhook.EndpointUpdate{ID: webhookOf(c), URL: in.URL.value, Enabled: in.Enabled.value}
	if in.Topics.sent {
		topics := in.Topics.or()
		u.Topics = &topics
	}
	if in.Description.sent {
		description := in.Description.or()
		u.Description = &description
	}
	e, err := a.webhooks.UpdateEndpoint(c.Context(), u)
	return webhookAnswer{show(e, attributes)}, err
}

func (a *API) deleteWebhook(c *call) (deletedAnswer, error) {
	id := webhookOf(c)
	return deletedAnswer{string(id), "webhook", true}, a.webhooks.DeleteEndpoint(c.Context(), id)
}

type rotateWebhookSecret struct {
	Overlap   optional[int]    `json:"overlap"` // seconds
	Now       optional[bool]   `json:"now"`
	UpdatedAt optional[string] `json:"updated_at"` // as the caller knows it, so that a request that is sent again makes no second secret
}

func (a *API) rotateWebhookSecret(c *call, in rotateWebhookSecret) (webhookAnswer, error) {
	attributes, err := readFields(c, webhookAttributes)
	if err != nil {
		return webhookAnswer{}, err
	}
	r := webhook.Rotation{Now: in.Now.or()}
	if seconds := in.Overlap.value; seconds != nil {
		if *seconds < 1 || *seconds > int(webhook.MaxOverlap/time.Second) {
			return webhookAnswer{}, errBody.Msg("Invalid request: overlap must be 1 to %d seconds", int(webhook.MaxOverlap/time.Second))
		}
		r.Overlap = time.Duration(*seconds) * time.Second
	}
	if in.UpdatedAt.sent {
		if r.UpdatedAt, err = time.Parse(time.RFC3339, in.UpdatedAt.or()); err != nil {
			return webhookAnswer{}, errBody.Msg("Invalid request: updated_at must be a time, as the webhook shows it")
		}
	}
	e, secret, err := a.webhooks.RotateSecret(c.Context(), webhookOf(c), r)
	if err != nil {
		return webhookAnswer{}, err
	}
	return webhookAnswer{webhookObject(e, attributes, &secret)}, nil
}

func (a *API) listWebhookDeliveries(c *call) (webhookDeliveriesAnswer, error) {
	q, err := readQuery(c, "failed", "event_id", "topic", "limit", "after", "fields")
	if err != nil {
		return webhookDeliveriesAnswer{}, err
	}
	limit, err := q.number("limit", 50, maxLimit)
	if err == nil && limit == 0 {
		err = errQuery.Msg("Invalid request: limit must be at least 1")
	}
	if err != nil {
		return webhookDeliveriesAnswer{}, err
	}
	f := webhook.DeliveryFilter{Endpoint: webhookOf(c), EventID: q["event_id"], Topic: q["topic"]}
	if f.Failed, err = q.truth("failed"); err != nil {
		return webhookDeliveriesAnswer{}, err
	}
	deliveries, err := a.webhooks.ListDeliveries(c.Context(), f, webhook.DeliveryPage{Limit: limit + 1, After: q["after"]}) // one more tells whether anything comes next
	return showDeliveries(deliveries, choose(webhookDeliveryAttributes, q["fields"]), limit), err
}

func (a *API) testWebhook(c *call) (webhookDeliveryAnswer, error) {
	attributes, err := readFields(c, webhookDeliveryAttributes)
	if err != nil {
		return webhookDeliveryAnswer{}, err
	}
	d, err := a.webhooks.SendTest(c.Context(), webhookOf(c))
	return webhookDeliveryAnswer{show(d, attributes)}, err
}
