// Reads deployment files as the programs do that will run them: Compose files with compose-go, Dockerfiles with BuildKit's
// parser and its lint rules.
//
//	lint compose FILE...      merges the files, later ones win, and prints the services
//	lint dockerfile FILE...   prints each warning
//
// The exit code is 1 where something is wrong.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "lint compose|dockerfile FILE...")
		os.Exit(64)
	}
	var faults []string
	switch files := os.Args[2:]; os.Args[1] {
	case "compose":
		faults = compose(files)
	case "dockerfile":
		for _, file := range files {
			faults = append(faults, dockerfile(file)...)
		}
	default:
		faults = []string{os.Args[1] + " is neither compose nor dockerfile"}
	}
	for _, fault := range faults {
		fmt.Fprintln(os.Stderr, fault)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
}

// compose loads the files as `docker compose config` does: variables, merges, references and the schema.
func compose(files []string) []string {
	name := strings.Join(files, " + ")
	options, err := cli.NewProjectOptions(files, cli.WithOsEnv, cli.WithDotEnv, cli.WithConsistency(true))
	if err != nil {
		return []string{name + ": " + err.Error()}
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return []string{name + ": " + err.Error()}
	}
	var faults, byTag []string
	for service, config := range project.Services {
		if config.Image == "" && config.Build == nil {
			faults = append(faults, name+": "+service+" has neither an image nor a build")
		}
		if config.Build == nil && !isPinned(config.Image) && !slices.Contains(byTag, config.Image) {
			byTag = append(byTag, config.Image)
		}
		if fault := login(config.Environment); fault != "" && strings.HasPrefix(config.Image, "apache/kafka:") {
			faults = append(faults, name+": "+service+" "+fault)
		}
		for _, volume := range config.Volumes {
			if _, err := os.Stat(volume.Source); volume.Type == "bind" && err != nil {
				faults = append(faults, name+": "+service+" mounts what is not there: "+err.Error())
			}
		}
	}
	services := project.ServiceNames()
	slices.Sort(services)
	fmt.Printf("%s: %s (by tag alone: %s)\n", name, strings.Join(services, " "), strings.Join(byTag, " "))
	return faults
}

// login says what the start script of the image apache/kafka refuses: a listener that asks for a login, without the JVM option that
// names a file of logins.
func login(environment types.MappingWithEquals) string {
	value := func(name string) string {
		if set := environment[name]; set != nil {
			return *set
		}
		return ""
	}
	if strings.Contains(value("KAFKA_ADVERTISED_LISTENERS"), "SASL_") &&
		!strings.Contains(value("KAFKA_OPTS"), "java.security.auth.login.config") {
		return "advertises a listener with a login, and KAFKA_OPTS names no java.security.auth.login.config: the image does not start"
	}
	return ""
}

// isPinned tells whether an image is named with its digest.
func isPinned(image string) bool {
	return strings.Contains(image, "@sha256:")
}

// dockerfile parses the file as `docker build` does, with the rules of `docker build --check` that need no registry. Each image
// that an argument names must be pinned.
func dockerfile(file string) []string {
	source, err := os.Open(file)
	if err != nil {
		return []string{err.Error()}
	}
	defer source.Close()
	parsed, err := parser.Parse(source)
	if err != nil {
		return []string{file + ": " + err.Error()}
	}
	var faults []string
	warn := func(rule, _, _, message string, location []parser.Range) {
		line := 0
		if len(location) > 0 {
			line = location[0].Start.Line
		}
		faults = append(faults, fmt.Sprintf("%s:%d: %s: %s", file, line, rule, message))
	}
	stages, arguments, err := instructions.Parse(parsed.AST, linter.New(&linter.Config{Warn: warn}))
	if err != nil {
		return append(faults, file+": "+err.Error())
	}
	for _, argument := range arguments {
		for _, pair := range argument.Args {
			if strings.HasSuffix(pair.Key, "_IMAGE") && !isPinned(pair.ValueString()) {
				faults = append(faults, file+": "+pair.Key+" is not pinned by a digest")
			}
		}
	}
	last := stages[len(stages)-1]
	var user, healthcheck bool
	for _, command := range last.Commands {
		switch command := command.(type) {
		case *instructions.UserCommand:
			user = command.User != "root" && command.User != "0"
		case *instructions.HealthCheckCommand:
			healthcheck = true
		}
	}
	if !user {
		faults = append(faults, file+": the image runs as root")
	}
	if !healthcheck {
		faults = append(faults, file+": the image has no HEALTHCHECK")
	}
	fmt.Printf("%s: %d stages\n", file, len(stages))
	return faults
}
