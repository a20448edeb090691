package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/kernel/outward"
)

const (
	sendTime  = outbox.HandleTime - time.Second // for an answer; what is left is for the log
	noteTime  = 3 * time.Second                 // for the log
	drainTime = time.Second                     // for what comes after the head of an answer
	maxAnswer = 64 << 10                        // bytes of that which are read, and thrown away
)

// TopicTest is the topic of what SendTest sends.
const TopicTest = "webhook.test"

// publish sends an event to an endpoint. An error has the outbox try it again.
func (s *Service) publish(ctx context.Context, target string, e outbox.Event) error {
	endpoint, err := s.store.find(ctx, EndpointID(target))
	if isNotFound(err) || err == nil && !endpoint.DisabledAt.IsZero() {
		return nil // since the event was claimed; nothing waits for it any more
	}
	if err != nil {
		return err
	}
	d, err := s.attempt(ctx, endpoint, e)
	if err != nil {
		return err
	}
	if d.Status == http.StatusGone {
		return s.disableGone(ctx, endpoint)
	}
	if d.Failed() {
		return errors.New(d.Error)
	}
	return nil
}

// attempt sends an event to an endpoint and notes what came of it. The error is ours: nothing was sent, or it was not noted.
func (s *Service) attempt(ctx context.Context, endpoint *endpointRow, e outbox.Event) (Delivery, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return Delivery{}, fmt.Errorf("write the event: %w", err)
	}
	d := Delivery{ID: id.New("whdel"), Endpoint: endpoint.ID, EventID: e.ID, Topic: e.Topic, At: database.Now()}
	secrets, err := s.secrets(ctx, endpoint.ID)
	if errors.Is(err, errSealed) {
		d.Error = errSealed.Error()
	} else if err != nil {
		return Delivery{}, err
	} else {
		began := time.Now()
		d.Status, d.Error = s.post(ctx, endpoint.URL, signed(secrets, e.ID, d.At, body), body)
		d.Duration = time.Since(began).Round(time.Millisecond)
	}
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime) // whatever the receiver left of the time
	defer cancel()
	return d, s.db.InTx(noting, func(ctx context.Context) (err error) {
		d.Attempt, err = s.store.note(ctx, d)
		return err
	})
}

// secrets are those that sign for an endpoint, the newest first. One that cannot be opened beside others that can is passed over.
func (s *Service) secrets(ctx context.Context, endpoint EndpointID) ([]Secret, error) {
	rows, err := s.store.secrets(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	var secrets []Secret
	for _, r := range rows {
		if secret, err := s.vault.open(r); err == nil {
			secrets = append(secrets, secret)
		}
	}
	if len(secrets) == 0 {
		return nil, errSealed
	}
	return secrets, nil
}

// post sends a body, and returns the status of the answer, and in words why it failed, if it did. The words hold nothing of the
// address, which may hold a token, or of the answer.
func (s *Service) post(ctx context.Context, url string, headers map[string]string, body []byte) (status int, failure string) {
	if err := outward.CheckURL(url, s.outward()); err != nil { // the rules may be stricter than when it was registered
		return 0, "the address " + err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, "the address is none that can be asked"
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Latchkey")
	rsp, err := s.client.Do(req)
	if err != nil {
		return 0, outward.Explain(err)
	}
	defer rsp.Body.Close() //nolint:errcheck // nobody reads on
	defer time.AfterFunc(drainTime, cancel).Stop()
	_, _ = io.Copy(io.Discard, io.LimitReader(rsp.Body, maxAnswer)) // so that the connection can be used again; the status says it all
	return rsp.StatusCode, judge(rsp.StatusCode)
}

// judge says in words why an answer is a failure; "": it is none.
func judge(status int) string {
	switch {
	case status >= 200 && status <= 299:
		return ""
	case status >= 300 && status <= 399:
		return fmt.Sprintf("it answered %d, a redirect, which is not followed: register the address that it leads to", status)
	case status == http.StatusGone:
		return "it answered 410, so it is gone and gets no more"
	}
	return fmt.Sprintf("it answered %d", status)
}

// SendTest sends an endpoint an event of its own, webhook.test, signed as any other, and returns what came of it. It works for a
// disabled one, too, and is not tried again. ErrNotFound: there is no such endpoint.
func (s *Service) SendTest(ctx context.Context, endpoint EndpointID) (Delivery, error) {
	row, err := s.store.find(ctx, endpoint)
	if err != nil {
		return Delivery{}, err
	}
	data, err := json.Marshal(map[string]string{"id": string(endpoint)})
	if err != nil {
		return Delivery{}, err
	}
	return s.attempt(ctx, row, outbox.Event{ID: id.New("evt"), Topic: TopicTest, At: database.Now(), Aggregate: string(endpoint), Data: data})
}
