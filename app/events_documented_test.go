package app_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestTheDocumentationListsEveryEvent(t *testing.T) {
	text, err := os.ReadFile("../docs/embedding.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"../modules/user/events.go", "../modules/auth/events.go", "../link/events.go"} {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		topics := regexp.MustCompile(`\) Topic\(\) string\s*\{ return "([^"]+)" \}`).FindAllStringSubmatch(string(code), -1)
		if len(topics) == 0 || len(topics) != strings.Count(string(code), ") Topic() string") {
			t.Errorf("%s: %d topics are read", file, len(topics))
		}
		for _, topic := range topics {
			if !strings.Contains(string(text), "`"+topic[1]+"`") {
				t.Errorf("docs/embedding.md does not list %s of %s", topic[1], file)
			}
		}
	}
}
