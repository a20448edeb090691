package auth_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
)

func TestAProviderReadsItsOwnSettings(t *testing.T) {
	type config struct {
		Name    string        `config:"display_name"`
		Wait    time.Duration `config:"wait"`
		Retries int           `config:"retries"`
		Strict  bool          `config:"strict"`
		Scopes  []string      `config:"scopes"`
		Issuer  string        `config:"issuer"`
	}
	want := config{"Acme", 2 * time.Second, 3, true, []string{"openid", "email"}, "kept"}
	for name, section := range map[string]map[string]any{
		"from a file":          {"display_name": "Acme", "wait": "2s", "retries": 3, "strict": true, "scopes": []any{"openid", "email"}},
		"from the environment": {"display_name": "Acme", "wait": "2s", "retries": "3", "strict": "true", "scopes": "openid,email"},
	} {
		got := config{Issuer: "kept"}
		if err := (auth.Settings{"acme": section}).Decode("acme", &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}
	for name, c := range map[string]struct {
		section map[string]any
		says    string
	}{
		"an unknown setting":     {map[string]any{"display_nam": "Acme"}, "auth.providers.acme.display_nam: the provider knows no such setting"},
		"another case":           {map[string]any{"Display_Name": "Acme"}, "auth.providers.acme.Display_Name: the provider knows no such setting"},
		"a text that is no time": {map[string]any{"wait": "hunter2hunter2"}, "auth.providers.acme.wait: the value has the wrong type"},
		"a text for a number":    {map[string]any{"retries": "hunter2hunter2"}, "auth.providers.acme.retries: the value has the wrong type"},
	} {
		err := (auth.Settings{"acme": c.section}).Decode("acme", new(config))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the value: %v", name, err)
		}
	}
	if err := auth.Settings(nil).Decode("acme", new(config)); err != nil {
		t.Errorf("no section: %v", err)
	}
}

// What several providers have in common is a struct of its own, in each of theirs.
func TestWhatMustBeSetMustBeInWhatIsShared(t *testing.T) {
	type Client struct {
		ID     string `config:"client_id,required"`
		Secret string `config:"client_secret,required"`
	}
	type config struct {
		Client `config:",squash"`
		URL    string  `config:",required"`
		Keys   Client  `config:"keys"`
		Other  *Client `config:"other"`
	}
	got := config{}
	err := (auth.Settings{"acme": {"client_id": "x", "keys": map[string]any{"client_id": "y"}}}).Decode("acme", &got)
	if err == nil || err.Error() != "auth.providers.acme.client_secret, auth.providers.acme.URL, auth.providers.acme.keys.client_secret: must be set" {
		t.Errorf("%v", err)
	}
}

func TestWhatMustBeSetIsSaidAllAtOnce(t *testing.T) {
	type config struct {
		URL    string        `config:"url,required"`
		Secret string        `config:"secret,required"`
		Wait   time.Duration `config:"wait,required"`
		Name   string        `config:"display_name"`
	}
	for name, c := range map[string]struct {
		section map[string]any
		says    []string
	}{
		"nothing":       {nil, []string{"auth.providers.acme.url, auth.providers.acme.secret: must be set"}},
		"an empty text": {map[string]any{"url": "https://acme.example", "secret": ""}, []string{"auth.providers.acme.secret: must be set"}},
		"what is wrong is there": {map[string]any{"url": []any{map[string]any{}}, "secret": "x", "nam": "x"},
			[]string{"auth.providers.acme.url: the value has the wrong type", "auth.providers.acme.nam: the provider knows no such setting"}},
		"all": {map[string]any{"url": "https://acme.example", "secret": "hunter2"}, nil},
	} {
		got := config{Wait: time.Second} // a default
		err := (auth.Settings{"acme": c.section}).Decode("acme", &got)
		var says []string
		for _, e := range auth.SettingsErrors(err) {
			says = append(says, e.Error())
		}
		if !reflect.DeepEqual(says, c.says) {
			t.Errorf("%s: %q, want %q", name, says, c.says)
		}
	}
}
