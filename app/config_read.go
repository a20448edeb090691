// Reading the file and the environment into a Config.

package app

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

type loader struct {
	config   *Config
	problems Problems
	bad      map[string]bool // keys that have a problem already
}

func (l *loader) problem(where, format string, args ...any) {
	l.problems = append(l.problems, Problem{where, fmt.Sprintf(format, args...)})
}

func (l *loader) readFile(args LoadArgs) {
	path := cmp.Or(args.Path, "config.yaml")
	if !filepath.IsAbs(path) {
		path = filepath.Join(args.Dir, path)
	}
	data, err := os.ReadFile(path)
	switch {
	case args.Path == "" && errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		l.problem(path, "cannot be read: %v", bare(err))
		return
	}
	l.config.file = path

	dec := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	switch err := dec.Decode(&document); {
	case errors.Is(err, io.EOF): // empty
		return
	case err != nil:
		l.problem(path, "is not valid YAML%s; put texts with special characters in quotes", nearLine(err))
		return
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		l.problem(path, "must be one YAML document: remove what follows the line ---")
	}
	l.section(document.Content[0], "", "", path)
}

// nearLine takes nothing but the line from an error of the YAML reader, whose
// words may quote the file.
func nearLine(err error) string {
	if line := regexp.MustCompile(`line \d+`).FindString(err.Error()); line != "" {
		return " near " + line
	}
	return ""
}

// section reads the keys of one section; where is its name in problems.
func (l *loader) section(node *yaml.Node, key, pattern, where string) {
	switch {
	case isNull(node):
		return
	case node.Kind != yaml.MappingNode:
		l.problem(where, "must be a section of keys%s", refuseAlias(node))
		return
	}
	named := known.sections[pattern]
	for name, value := range l.members(node, key) {
		childKey, childPattern := join(key, name), join(pattern, name)
		if named != nil {
			if wrong := named.wrong(name); wrong != "" {
				l.problem(childKey, "%s", wrong)
				continue
			}
			named.ensure(l.config, name)
			childPattern = pattern + ".*"
		}

		s, isSetting := known.byKey[childPattern]
		_, isSection := known.sections[childPattern]
		switch {
		case strings.Contains(name, "."):
			l.problem(childKey, "unknown key: sections are nested, not joined by dots")
		case isSetting && s.free:
			l.freeSection(value, childKey, name)
		case isSetting:
			l.setting(s, childKey, value)
		case isSection:
			l.section(value, childKey, childPattern, childKey)
		default:
			l.problem(childKey, "unknown key%s", didYouMean(childKey, ".", l.knownKeys()))
		}
	}
}

// members goes through the keys and values of a mapping, each key once.
func (l *loader) members(node *yaml.Node, section string) func(yield func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		lines := make(map[string]int)
		for i := 0; i < len(node.Content); i += 2 {
			name, value := node.Content[i], node.Content[i+1]
			if name.Kind != yaml.ScalarNode {
				l.problem(cmp.Or(section, "top of the file"), "the key in line %d must be a plain text", name.Line)
				continue
			}
			if line, again := lines[name.Value]; again {
				l.problem(join(section, name.Value), "is there twice, in lines %d and %d: remove one", line, name.Line)
				continue
			}
			lines[name.Value] = name.Line
			if !yield(name.Value, value) {
				return
			}
		}
	}
}

// knownKeys are all keys and sections, for finding what was meant.
func (l *loader) knownKeys() []string {
	var all []string
	for key, s := range known.each(l.config) {
		if !s.free {
			all = append(all, key)
		}
	}
	for pattern := range known.sections {
		if pattern != "" && !strings.Contains(pattern, "*") {
			all = append(all, pattern)
		}
	}
	slices.Sort(all)
	return all
}

// knownVariables are all variables, those of the providers left out.
func (l *loader) knownVariables() []string {
	var all []string
	for key, s := range known.each(l.config) {
		if !s.free {
			all = append(all, variable(key))
		}
	}
	return all
}

// setting reads one value of the file. A null leaves the default.
func (l *loader) setting(s *setting, key string, node *yaml.Node) {
	if isNull(node) {
		return
	}
	var texts []string
	switch {
	case node.Kind == yaml.SequenceNode && s.isList():
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode || item.ShortTag() != "!!str" {
				l.bad[key] = true
				l.problem(key, "%s: put the entry in line %d in quotes%s", s.want(), item.Line, refuseAlias(item))
				return
			}
			texts = append(texts, item.Value)
		}
	case node.Kind == yaml.ScalarNode && strings.HasPrefix(node.Value, filePrefix),
		node.Kind == yaml.ScalarNode && node.ShortTag() == "!!int" && s.typ.Kind() == reflect.Int,
		node.Kind == yaml.ScalarNode && node.Value == "0" && s.typ == reflect.TypeFor[time.Duration](),
		node.Kind == yaml.ScalarNode && node.ShortTag() == "!!bool" && s.typ.Kind() == reflect.Bool,
		node.Kind == yaml.ScalarNode && node.ShortTag() == "!!str" && s.typ.Kind() != reflect.Int && s.typ.Kind() != reflect.Bool && !s.isList():
		texts = []string{node.Value}
	default:
		l.bad[key] = true
		l.problem(key, "%s%s", s.want(), refuseAlias(node))
		return
	}
	l.assign(s, key, texts, key, sourceFile)
}

// assign sets a value from its texts, of which lists have any number and others one.
func (l *loader) assign(s *setting, key string, texts []string, where, source string) {
	var whole []string
	for _, text := range texts {
		content, isFile, err := fromFile(text)
		switch {
		case err != nil:
			l.bad[key] = true
			l.problem(where, "%v", err)
			return
		case isFile && s.isList():
			whole = append(whole, splitLines(content)...)
		default:
			whole = append(whole, content)
		}
	}
	value, ok := s.parse(whole)
	if !ok {
		l.bad[key] = true
		l.problem(where, "%s", s.want())
		return
	}
	s.set(l.config, key, value)
	l.config.sources[key] = source
	if s.typ == reflect.TypeFor[[]Secret]() {
		l.config.written[key] = nil
		for _, text := range texts {
			l.config.written[key] = append(l.config.written[key], NewSecret([]byte(text)))
		}
	}
}

// freeSection reads the settings of one provider.
func (l *loader) freeSection(node *yaml.Node, key, provider string) {
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		l.problem(key, "must be a section of keys%s", refuseAlias(node))
		return
	}
	for name, value := range l.members(node, key) {
		if got := l.freeValue(value, key+"."+name); got != nil {
			l.config.Auth.Providers[provider][name] = got
			l.config.sources[key+"."+name] = sourceFile
		}
	}
}

// freeValue reads a value whose type is not ours to know. It is nil for a null,
// and after a problem.
func (l *loader) freeValue(node *yaml.Node, key string) any {
	switch node.Kind {
	case yaml.MappingNode:
		m := make(map[string]any)
		for name, value := range l.members(node, key) {
			m[name] = l.freeValue(value, key+"."+name)
		}
		return m
	case yaml.SequenceNode:
		list := make([]any, len(node.Content))
		for i, item := range node.Content {
			list[i] = l.freeValue(item, fmt.Sprintf("%s[%d]", key, i))
		}
		return list
	case yaml.ScalarNode:
		switch node.ShortTag() {
		case "!!null":
			return nil
		case "!!int", "!!float", "!!bool":
			var v any
			if err := node.Decode(&v); err != nil {
				l.problem(key, "cannot be read; put it in quotes if it is meant as a text")
			}
			return v
		}
		text, _, err := fromFile(node.Value)
		if err != nil {
			l.problem(key, "%v", err)
			return nil
		}
		return text
	default:
		l.problem(key, "cannot be read%s", refuseAlias(node))
		return nil
	}
}

func (l *loader) readEnviron(environ []string) {
	values := make(map[string]string)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) && !strings.HasPrefix(name, envPrefix+"TEST_") {
			values[name] = value
		}
	}
	var providers []string // last, when it is known which providers there are
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch s, key, wrong := l.lookup(name); {
		case wrong != "":
			l.problem(name, "%s", wrong)
		case s != nil:
			texts := []string{values[name]}
			if s.isList() {
				texts = splitList(values[name])
			}
			l.assign(s, key, texts, name, sourceEnv+name)
		case strings.HasPrefix(name, variable("auth.providers.")):
			providers = append(providers, name)
		default:
			l.problem(name, "unknown variable%s", didYouMean(name, "_", l.knownVariables()))
		}
	}
	ids := l.providerIDs()
	for _, name := range providers {
		l.providerVariable(name, values[name], ids)
	}
}

// lookup finds the setting and the key for which a variable stands; no setting
// means that there is none.
func (l *loader) lookup(name string) (s *setting, key, wrong string) {
	for _, s := range known.settings {
		before, after, hasName := strings.Cut(s.pattern, "*")
		switch {
		case !hasName && name == variable(s.pattern):
			return s, s.pattern, ""
		case !hasName || s.free:
			continue
		}
		rest, ok := strings.CutPrefix(name, variable(before))
		if !ok {
			continue
		}
		if rest, ok = strings.CutSuffix(rest, strings.TrimPrefix(variable(after), envPrefix)); ok && rest != "" {
			for _, named := range s.named.of(l.config) { // of which some have signs that variables have not
				if variable(s.key(named)) == name {
					return s, s.key(named), ""
				}
			}
			named := strings.ToLower(rest)
			return s, s.key(named), s.named.wrong(named)
		}
	}
	return nil, "", ""
}

// providerIDs are the providers that the configuration names so far, the longest
// first.
func (l *loader) providerIDs() []string {
	ids := slices.Collect(maps.Keys(l.config.Auth.Providers))
	for _, actor := range l.config.Link.Actors {
		ids = append(ids, actor.Providers...)
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) })
	return slices.Compact(ids)
}

// providerVariable sets one setting of one provider. Since a - in an id is a _ in a
// variable, the ids that the configuration names come first; for others the id is
// the first word.
func (l *loader) providerVariable(name, value string, ids []string) {
	rest := strings.TrimPrefix(name, variable("auth.providers."))
	id, setting, _ := strings.Cut(strings.ToLower(rest), "_")
	for _, known := range ids {
		if after, ok := strings.CutPrefix(name, variable("auth.providers."+known+".")); ok {
			id, setting = known, strings.ToLower(after)
			break
		}
	}
	named := known.sections["auth.providers"]
	wrong := named.wrong(id)
	text, _, err := fromFile(value)
	switch {
	case wrong != "":
		l.problem(name, "%s", wrong)
	case setting == "":
		l.problem(name, "names no setting: write %s followed by its name", variable("auth.providers."+id+"."))
	case err != nil:
		l.problem(name, "%v", err)
	default:
		named.ensure(l.config, id)
		l.config.Auth.Providers[id][setting] = text
		l.config.sources["auth.providers."+id+"."+setting] = sourceEnv + name
	}
}

const filePrefix = "file:"

// fromFile returns the content of the file that text refers to, less one newline
// at its end; a text that is no reference is returned as it is.
func fromFile(text string) (content string, isFile bool, err error) {
	path, ok := strings.CutPrefix(text, filePrefix)
	if !ok {
		return text, false, nil
	}
	if !filepath.IsAbs(path) {
		return "", true, errors.New("file: must be followed by an absolute path, as in file:/run/secrets/name")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", true, fmt.Errorf("the file %s cannot be read: %w", path, bare(err))
	}
	content = strings.TrimSuffix(string(data), "\n")
	return strings.TrimSuffix(content, "\r"), true, nil
}

// bare is the cause of a failure to open a file, without the path.
func bare(err error) error {
	if perr := new(fs.PathError); errors.As(err, &perr) {
		return perr.Err
	}
	return err
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" }

func refuseAlias(node *yaml.Node) string {
	if node.Kind == yaml.AliasNode {
		return " (YAML aliases are not supported: write the value itself)"
	}
	return ""
}

func splitList(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	texts := strings.Split(text, ",")
	for i := range texts {
		texts[i] = strings.TrimSpace(texts[i])
	}
	return texts
}

// splitLines takes apart a list in a file, where entries stand on lines of their own or between commas.
func splitLines(text string) (texts []string) {
	for line := range strings.Lines(text) {
		texts = append(texts, splitList(line)...)
	}
	return texts
}

func join(section, name string) string {
	if section == "" {
		return name
	}
	return section + "." + name
}

func number(text string, otherwise int) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return otherwise
}

// didYouMean suggests the one of all that was most likely meant by name, if any: the
// one that is nearly spelt so or, if there is none, one that ends so.
func didYouMean(name, separator string, all []string) string {
	bare := strings.TrimPrefix(name, envPrefix)
	best, least := "", min(3, (len(bare)+1)/2)+1
	for _, candidate := range all {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	for _, candidate := range all {
		if best == "" && strings.HasSuffix(candidate, separator+bare) {
			best = candidate
		}
	}
	if best == "" {
		return "; config.yaml in the repository lists all that are known"
	}
	return "; did you mean " + best + "?"
}

// distance is the number of bytes to insert, remove or replace to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
