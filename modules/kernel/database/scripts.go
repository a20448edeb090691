package database

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// scripts are the migrations of one module as one database is to see them, by version. They are the file system that
// goose reads.
type scripts []script

type script struct {
	file    string
	version int64
	name    string
	text    string
}

var (
	fileName      = regexp.MustCompile(`^(\d{5,})_([a-z0-9_]+)(?:\.(sqlite|postgres))?\.sql$`)
	noTransaction = regexp.MustCompile(`(?im)^\s*--\s*\+goose\s+NO\s+TRANSACTION\b`)
	timestamptz   = regexp.MustCompile(`(?i)\btimestamptz\b`)
)

// readScripts reads the *.sql files at the root of fsys that are for dialect.
func readScripts(fsys fs.FS, dialect Dialect) (scripts, error) {
	files, err := fs.Glob(fsys, "*.sql")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("no *.sql file at the root; an embedded directory needs fs.Sub")
	}
	var all scripts
	for _, file := range files {
		parts := fileName.FindStringSubmatch(file)
		if parts == nil {
			return nil, fmt.Errorf("%s is not named like 00001_name.sql or 00001_name.postgres.sql", file)
		}
		if only := Dialect(parts[3]); only != "" && only != dialect {
			continue
		}
		text, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, err
		}
		if noTransaction.Match(text) {
			return nil, fmt.Errorf("%s says NO TRANSACTION: if it were interrupted, nobody could tell how far it came", file)
		}
		if dialect == SQLite {
			text = timestamptz.ReplaceAllLiteral(text, []byte("timestamp"))
		}
		version, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil || version == 0 {
			return nil, fmt.Errorf("%s has no usable version", file)
		}
		all = append(all, script{file, version, parts[2], string(text)})
	}
	slices.SortFunc(all, func(a, b script) int { return cmp.Compare(a.version, b.version) })
	for i := 1; i < len(all); i++ {
		if a, b := all[i-1], all[i]; a.version == b.version {
			return nil, fmt.Errorf("%s and %s have the same version", a.file, b.file)
		}
	}
	return all, nil
}

// Glob is how goose lists files.
func (s scripts) Glob(pattern string) ([]string, error) {
	var files []string
	for _, one := range s {
		if ok, err := path.Match(pattern, one.file); err != nil {
			return nil, err
		} else if ok {
			files = append(files, one.file)
		}
	}
	return files, nil
}

// Open is how goose reads them.
func (s scripts) Open(name string) (fs.File, error) {
	for _, one := range s {
		if one.file == name {
			return reader{strings.NewReader(one.text)}, nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

type reader struct{ *strings.Reader }

func (reader) Close() error               { return nil }
func (reader) Stat() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }
