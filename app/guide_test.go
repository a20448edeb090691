package app_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guide is the page whose Go code is that of the examples it links to: each block stands, as it is but for its indentation, in the file that was
// linked to last before it. Its configurations are read by the tests of the examples.
const guide = "../docs/write-a-provider.md"

func TestTheGuideShowsWhatIsInTheExamples(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	file, whole := "", map[string]bool{}
	linked := regexp.MustCompile(`\]\(\.\./([^)]+\.go)\)`)
	fenced := regexp.MustCompile("(?s)^```go\n(.*?\n)```\n")
	seen := 0
	for rest := string(text); rest != ""; {
		if block := fenced.FindStringSubmatch(rest); block != nil {
			source, err := os.ReadFile(filepath.Join("..", file))
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case string(source) == block[1]:
				whole[file] = true
			case !strings.Contains(unindented(string(source)), unindented(block[1])):
				t.Errorf("this is not in %s:\n%s", file, block[1])
			}
			seen++
			rest = rest[len(block[0]):]
			continue
		}
		line, after, _ := strings.Cut(rest, "\n")
		if all := linked.FindAllStringSubmatch(line, -1); all != nil {
			file = all[len(all)-1][1]
		}
		rest = after
	}
	if seen < 6 {
		t.Errorf("the guide has %d blocks of Go", seen)
	}
	for _, name := range []string{"examples/forge/forge.go", "examples/forge/forge_test.go"} {
		if !whole[name] {
			t.Errorf("%s is not all there", name)
		}
	}
}

// unindented is code without the blanks at the beginning of its lines.
func unindented(code string) string {
	lines := strings.Split(code, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, "\t")
	}
	return strings.Join(lines, "\n")
}

func TestAProviderIsWrittenInLessThanSixtyLines(t *testing.T) {
	source, err := os.ReadFile("../examples/forge/forge.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(source), "\n"); lines >= 60 {
		t.Errorf("examples/forge/forge.go has %d lines, with imports and comments", lines)
	}
	for i, line := range strings.Split(string(source), "\n") {
		if len(line) > 160 {
			t.Errorf("line %d of it is long: that does not count", i+1)
		}
	}
}
