// Checks an exported ledger with Go's own transparency-log code, none of it ours:
// the signed checkpoint, every tile, every entry's inclusion, and proofs that were made by
// Offswitch.
//
//	check DIR VKEY PROOFS.json
//
// PROOFS.json is {"inclusion": [{"index", "leaf", "proof"}], "consistency": [{"first",
// "first_root", "proof"}], "skey": text}; hashes are in hex. It prints one JSON object, or
// says what is wrong and exits 1.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type proofs struct {
	Inclusion []struct {
		Index int64    `json:"index"`
		Leaf  string   `json:"leaf"`
		Proof []string `json:"proof"`
	} `json:"inclusion"`
	Consistency []struct {
		First     int64    `json:"first"`
		FirstRoot string   `json:"first_root"`
		Proof     []string `json:"proof"`
	} `json:"consistency"`
	Skey string `json:"skey"`
}

type files struct{ dir string }

func (f files) Height() int                     { return height }
func (f files) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles maps Go's names, tile/8/L/N, to those of tlog-tiles, tile/L/N.
func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(f.dir, path))
		if err != nil {
			// A client may always fall back to the full tile.
			full := path[:strings.LastIndex(path+".p/", ".p/")]
			data, err = os.ReadFile(filepath.Join(f.dir, full))
			if err != nil {
				return nil, err
			}
			data = data[:tile.W*tlog.HashSize]
		}
		all = append(all, data)
	}
	return all, nil
}

func must(err error, what string) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func unhex(text string) tlog.Hash {
	raw, err := hex.DecodeString(text)
	must(err, "hex")
	var hash tlog.Hash
	copy(hash[:], raw)
	return hash
}

func unhexAll(texts []string) []tlog.Hash {
	var all []tlog.Hash
	for _, text := range texts {
		all = append(all, unhex(text))
	}
	return all
}

func checkpoint(dir string, vkey string) (string, tlog.Tree) {
	verifier, err := note.NewVerifier(vkey)
	must(err, "vkey")
	raw, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	must(err, "checkpoint")
	opened, err := note.Open(raw, note.VerifierList(verifier))
	must(err, "note")
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err, "size")
	root, err := base64.StdEncoding.DecodeString(lines[2])
	must(err, "root")
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	return lines[0], tree
}

func entries(dir string, index int64, width int) [][]byte {
	tile := tlog.Tile{H: height, L: 0, N: index, W: width}
	path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
	data, err := os.ReadFile(filepath.Join(dir, path))
	must(err, "bundle")
	var all [][]byte
	for len(data) > 0 {
		length := int(binary.BigEndian.Uint16(data))
		all = append(all, data[2:2+length])
		data = data[2+length:]
	}
	if len(all) != width {
		must(fmt.Errorf("%d entries, not %d", len(all), width), path)
	}
	return all
}

func main() {
	dir, vkey := os.Args[1], os.Args[2]
	origin, tree := checkpoint(dir, vkey)
	reader := tlog.TileHashReader(tree, files{dir})

	for start := int64(0); start < tree.N; start += 1 << height {
		width := 1 << height
		if tree.N-start < int64(width) {
			width = int(tree.N - start)
		}
		for i, entry := range entries(dir, start>>height, width) {
			index := start + int64(i)
			proof, err := tlog.ProveRecord(tree.N, index, reader)
			must(err, "prove")
			must(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)), "record")
		}
	}

	var ours proofs
	raw, err := os.ReadFile(os.Args[3])
	must(err, "proofs")
	must(json.Unmarshal(raw, &ours), "proofs")
	for _, p := range ours.Inclusion {
		err := tlog.CheckRecord(unhexAll(p.Proof), tree.N, tree.Hash, p.Index, unhex(p.Leaf))
		must(err, fmt.Sprintf("our proof of %d", p.Index))
	}
	for _, p := range ours.Consistency {
		err := tlog.CheckTree(unhexAll(p.Proof), tree.N, tree.Hash, p.First, unhex(p.FirstRoot))
		must(err, fmt.Sprintf("our proof from %d", p.First))
	}
	signer, err := note.NewSigner(ours.Skey)
	must(err, "skey")
	signed, err := note.Sign(&note.Note{Text: origin + "\n1\n" + strings.Repeat("A", 43) + "=\n"}, signer)
	must(err, "sign")
	json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"origin": origin, "entries": tree.N, "inclusion": len(ours.Inclusion),
		"consistency": len(ours.Consistency), "signed": string(signed),
	})
}
