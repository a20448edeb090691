package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

const keyPeppers = "auth.password.peppers"

// newKeyring takes the configured secrets, or in development those in the data directory. It follows the files that
// they are read from.
func newKeyring(c *Config, log *slog.Logger) (*keyring.Ring, error) {
	if len(c.Secrets) > 0 {
		return c.ring("secrets", c.Secrets, log)
	}
	source, err := developmentSecrets(c, log)
	if err != nil {
		return nil, err
	}
	return keyring.Open(source, log)
}

// newPeppers takes the configured list of peppers; nil if there is none.
func newPeppers(c *Config, log *slog.Logger) (*keyring.Ring, error) {
	if len(c.Auth.Password.Peppers) == 0 {
		return nil, nil
	}
	return c.ring(keyPeppers, c.Auth.Password.Peppers, log)
}

// ring is the secrets of one key of the configuration.
func (c *Config) ring(key string, secrets []Secret, log *slog.Logger) (*keyring.Ring, error) {
	source := c.secretSource(key)
	if len(source.files()) == 0 { // nothing that could change
		return keyring.New(plain(secrets)...)
	}
	return keyring.Open(source, log)
}

func plain(secrets []Secret) [][]byte {
	all := make([][]byte, len(secrets))
	for i, s := range secrets {
		all[i] = s.Bytes()
	}
	return all
}

// secretSource is where the secrets of a key of the configuration come from.
func (c *Config) secretSource(key string) *secretSource {
	s := &secretSource{where: c.where(key), texts: c.written[key]}
	if c.Production() {
		s.check = checkMade
	}
	return s
}

// secretSource is a list of secrets as it was written, of which file: references can be read again. It is a
// keyring.Source.
type secretSource struct {
	where string // what people call it
	texts []Secret
	check func([]Secret) string // what else is wrong with secrets; nil: nothing

	seen map[string]fs.FileInfo // the files as they were when they were last read
}

// files are those that are referred to.
func (s *secretSource) files() (paths []string) {
	for _, text := range s.texts {
		if path, ok := strings.CutPrefix(string(text.Bytes()), filePrefix); ok {
			paths = append(paths, path)
		}
	}
	return paths
}

// Secrets reads the list.
func (s *secretSource) Secrets() ([][]byte, error) {
	s.seen = look(s.files()) // before they are read: what changes meanwhile is seen by Changed
	var secrets []Secret
	for _, text := range s.texts {
		content, isFile, err := fromFile(string(text.Bytes()))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.where, err)
		}
		lines := []string{content}
		if isFile {
			lines = splitLines(content)
		}
		for _, line := range lines {
			secrets = append(secrets, parseSecret(line))
		}
	}
	wrong := checkSecrets(secrets)
	if wrong == "" && s.check != nil {
		wrong = s.check(secrets)
	}
	if wrong == "" && len(secrets) == 0 {
		wrong = "there is no secret"
	}
	if wrong != "" {
		return nil, fmt.Errorf("%s: %s", s.where, wrong)
	}
	return plain(secrets), nil
}

// Changed reports whether a file is another one than was read, or was written since.
func (s *secretSource) Changed() bool {
	for path, now := range look(s.files()) {
		switch before := s.seen[path]; {
		case (now == nil) != (before == nil):
			return true
		case now != nil && (!os.SameFile(now, before) || now.Size() != before.Size() || !now.ModTime().Equal(before.ModTime())):
			return true
		}
	}
	return false
}

// look returns what the system says of files; nil for one that is not there.
func look(paths []string) map[string]fs.FileInfo {
	infos := make(map[string]fs.FileInfo, len(paths))
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			info = nil
		}
		infos[path] = info
	}
	return infos
}

// developmentFile is the file of the secrets that were made here, one a line.
func (c *Config) developmentFile() (string, error) {
	path, err := filepath.Abs(filepath.Join(c.DataDir, "secret"))
	if err != nil {
		return "", fmt.Errorf("the data directory: %w", err)
	}
	return path, nil
}

// hasDevelopmentSecret reports whether the data directory holds secrets already.
func (c *Config) hasDevelopmentSecret() bool {
	path, err := c.developmentFile()
	if err != nil {
		return false
	}
	_, err = os.Stat(path)
	return err == nil
}

// developmentSecrets are those in the data directory. The first time one is made: of several processes that start at
// once, one makes it and all use it.
func developmentSecrets(c *Config, log *slog.Logger) (*secretSource, error) {
	if err := makeDataDir(c); err != nil {
		return nil, err
	}
	file, err := c.developmentFile()
	if err != nil {
		return nil, err
	}
	source := &secretSource{where: file, texts: []Secret{NewSecret([]byte(filePrefix + file))}}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if err := makeSecretFile(file, log); err != nil {
			return nil, fmt.Errorf("the development secret: %w", err)
		}
	}
	if _, err := source.Secrets(); err != nil {
		return nil, fmt.Errorf("%w; %s does not hold secrets of %d bytes in base64url, one a line: restore it, or delete it to have a new one made, with which every password and token made so far is void", err, file, keyring.MinSecret)
	}
	return source, nil
}

func newSecret() string {
	secret := make([]byte, keyring.MinSecret)
	rand.Read(secret)
	return base64.RawURLEncoding.EncodeToString(secret)
}

// makeSecretFile makes the file with one secret, unless somebody else does.
func makeSecretFile(file string, log *slog.Logger) error {
	draft, err := writeDraft(file, []string{newSecret()}, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(draft)
	switch err := os.Link(draft, file); {
	case err == nil:
		log.Warn("made a secret for development; several nodes need a common one in secrets", "file", file)
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	return nil
}

// writeDraft writes the lines to a new file beside another one, whole and on the disk, and returns its name.
func writeDraft(beside string, lines []string, mode fs.FileMode) (name string, err error) {
	draft, err := os.CreateTemp(filepath.Dir(beside), filepath.Base(beside)+"-*") // 0600
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, draft.Close()); err != nil {
			os.Remove(draft.Name()) //nolint:errcheck // what is wrong is said already
		}
	}()
	if _, err := draft.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		return "", err
	}
	if err := draft.Chmod(mode); err != nil {
		return "", err
	}
	return draft.Name(), draft.Sync()
}

// replaceLines puts the lines in the place of a file: whoever reads it finds the old ones or the new, and never a part.
func replaceLines(file string, lines []string) error {
	file, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	draft, err := writeDraft(file, lines, info.Mode().Perm())
	if err != nil {
		return err
	}
	if err = keepOwner(draft, info); err == nil {
		err = os.Rename(draft, file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	if dir, err := os.Open(filepath.Dir(file)); err == nil { // so that the new name outlives a power cut; not every system can
		_ = dir.Sync()
		_ = dir.Close()
	}
	return nil
}

// openKeys stops a program whose secrets or peppers are not those that its database needs, before anything signs or hashes.
func openKeys(c *Config, custody *auth.Custody, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	err := custody.Open(ctx, c.AcceptLostKeys)
	if err == nil && len(c.Secrets) == 0 && c.Database.URL.Postgres() {
		log.Warn("PostgreSQL is served with the secret that was made for development in the data directory; other nodes need the same, in secrets", "data_dir", c.DataDir)
	}
	if err == nil && c.AcceptLostKeys {
		log.Warn("accept_lost_keys is set: a start that lacks secrets or peppers gives up on them; take it out again")
	}
	return err
}

// explainKeys says what to do about secrets or peppers that are missing.
func explainKeys(e *auth.KeysError, c *Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The keys are not those of this database: %s.\n", e)
	switch {
	case len(e.Served) == 0:
	case len(c.Secrets) > 0:
		fmt.Fprintf(&b, "Put one of the secrets that it has been served with back into %s; the newest is %s.\n", c.where("secrets"), e.Served[len(e.Served)-1])
	case c.Database.URL.Postgres():
		fmt.Fprintf(&b, "The secret that was made in %s is another one: set LATCHKEY_SECRETS to what the other nodes have.\n", c.DataDir)
	default:
		fmt.Fprintf(&b, "Restore the file secret in %s, or set LATCHKEY_SECRETS to what the database was served with.\n", c.DataDir)
	}
	if len(e.Peppers) > 0 {
		fmt.Fprintf(&b, "Put back what was taken out of %s, or the secret that the pepper is kept under.\n", c.where(keyPeppers))
	}
	void, people := "", 0
	if len(e.Served) > 0 {
		void = "every token made so far is void then, and "
	}
	for _, n := range e.Peppers {
		people += n
	}
	must := "nobody has to set a new password"
	if people > 0 {
		must = counted(people, "person", "people") + " must set a new password, by mail"
	}
	fmt.Fprintf(&b, "If it is lost for good, start once with LATCHKEY_ACCEPT_LOST_KEYS=true: %s%s.\n", void, must)
	return b.String()
}

// editable is the one file that a list of secrets can be changed in; empty if it comes from elsewhere, too.
func (s *secretSource) editable() string {
	if files := s.files(); len(files) == 1 && len(s.texts) == 1 {
		return files[0]
	}
	return ""
}

// lines are the secrets of the file, as texts.
func (s *secretSource) lines() ([]string, error) {
	secrets, err := s.Secrets()
	if err != nil {
		return nil, err
	}
	lines := make([]string, len(secrets))
	for i, b := range secrets {
		lines[i] = base64.RawURLEncoding.EncodeToString(b)
	}
	return lines, nil
}

// ringOf is the ring of the secrets in lines.
func ringOf(lines []string) (*keyring.Ring, error) {
	var secrets [][]byte
	for _, line := range lines {
		secrets = append(secrets, parseSecret(line).Bytes())
	}
	return keyring.New(secrets...)
}

// without returns the lines but the one whose secret is called so.
func without(lines []string, name string) ([]string, error) {
	ring, err := ringOf(lines)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(ring.Keys(keyring.Fingerprint), func(k keyring.Key) bool { return k.ID == name })
	if at < 0 {
		return nil, fmt.Errorf("there is no secret %s in the list", name)
	}
	return slices.Delete(slices.Clone(lines), at, at+1), nil
}
