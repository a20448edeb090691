package main

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

// startNATS runs a nats-server until the test ends.
func startNATS(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s.ClientURL()
}

func TestWhatTheServerDoesIsOnNATS(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		broker := startNATS(t)
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		free.Close()
		cfg, err := app.LoadConfig(app.LoadArgs{Environ: []string{
			"LATCHKEY_HTTP_ADDR=" + free.Addr().String(), "LATCHKEY_DATA_DIR=" + t.TempDir(), "LATCHKEY_DATABASE_URL=" + at.URL,
			"LATCHKEY_SECRETS=c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA", "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=4", "LATCHKEY_LOG_LEVEL=warn",
		}})
		if err != nil {
			t.Fatal(err)
		}
		s := app.New(cfg, events(broker, ""))
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, route := range []string{"/auth/user/emailpass/register", "/auth/user/emailpass"} {
			client := http.Client{Timeout: 30 * time.Second}
			rsp, err := client.Post("http://"+free.Addr().String()+route, "application/json", strings.NewReader(`{"email":"ada@example.com","password":"correct horse"}`))
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(rsp.Body)
			rsp.Body.Close()
			if rsp.StatusCode != 200 {
				t.Fatalf("%s: %d %s", route, rsp.StatusCode, answer)
			}
		}

		conn, err := nats.Connect(broker)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		js, err := jetstream.New(conn)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"auth.auth-identity.created", "auth.sign_up", "auth.sign_in", "link.linked", "user.created"}
		for deadline := time.Now().Add(20 * time.Second); len(want) > 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("these are not in the stream: %v", want)
			}
			stream, err := js.Stream(t.Context(), "LATCHKEY")
			if err != nil {
				continue // it is made when the server has connected
			}
			want = slices.DeleteFunc(want, func(topic string) bool {
				_, err := stream.GetLastMsgForSubject(t.Context(), "latchkey."+topic)
				return err == nil
			})
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A command records events for NATS, and needs none.
func TestCommandsDoNotConnect(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("LATCHKEY_DATA_DIR", t.TempDir())
	t.Setenv("LATCHKEY_AUTH_PASSWORD_BCRYPT_COST", "4")
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	called := make(chan bool, 1)
	go func() {
		if conn, err := at.Accept(); err == nil {
			conn.Close()
			called <- true
		}
	}()
	for _, args := range [][]string{{"migrate"}, {"config"}, {"user", "-e", "ada@example.com", "-p", "correct horse battery"}} {
		if code := app.Main(args, events("nats://"+at.Addr().String(), "")); code != 0 {
			t.Errorf("%q: exit %d", args, code)
		}
	}
	select {
	case <-called:
		t.Error("a command connects to NATS")
	default:
	}
}
