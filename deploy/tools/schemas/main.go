// Writes the schemas that kubeconform reads, from what Kubernetes's own Go modules hold; kubeconform's own source of them is a site.
//
//	schemas KUBECTL_DIR CLIENT_GO_DIR OUT
//
// kubectl's module has the API descriptions of the core, apps and autoscaling groups. The other kinds come from the typed schema of
// client-go, which knows members and their types, but not which are required. No object takes a member that is not described.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

type object = map[string]any

// Kinds of groups that kubectl's module does not describe, by their type in client-go.
var others = map[string][3]string{
	"io.k8s.api.policy.v1.PodDisruptionBudget": {"PodDisruptionBudget", "policy", "v1"},
	"io.k8s.api.networking.v1.NetworkPolicy":   {"NetworkPolicy", "networking.k8s.io", "v1"},
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "schemas KUBECTL_DIR CLIENT_GO_DIR OUT")
		os.Exit(64)
	}
	kubectl, clientGo, out := os.Args[1], os.Args[2], os.Args[3]
	check(os.MkdirAll(out, 0o755))
	for _, file := range []string{"api/v1.json", "apis/apps/v1.json", "apis/autoscaling/v2.json"} {
		fromOpenAPI(filepath.Join(kubectl, "testdata/openapi/v3", file), out)
	}
	fromTyped(filepath.Join(clientGo, "applyconfigurations/internal/internal.go"), out)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fromOpenAPI(file, out string) {
	text, err := os.ReadFile(file)
	check(err)
	// References lead to "#/components/schemas/…" of the same document.
	var document struct {
		Components struct{ Schemas object }
	}
	check(json.Unmarshal(text, &document))
	schemas := document.Components.Schemas
	for name, schema := range schemas {
		schemas[name] = strict(schema)
	}
	for name, schema := range schemas {
		kinds, _ := schema.(object)["x-kubernetes-group-version-kind"].([]any)
		for _, each := range kinds {
			kind := each.(object)
			write(out, [3]string{kind["kind"].(string), kind["group"].(string), kind["version"].(string)}, name, schemas)
		}
	}
}

// strict takes no members besides those that are described.
func strict(value any) any {
	switch value := value.(type) {
	case []any:
		for index := range value {
			value[index] = strict(value[index])
		}
	case object:
		for key := range value {
			value[key] = strict(value[key])
		}
		// "default": {} beside a reference would hide it from some readers.
		if all, ok := value["allOf"].([]any); ok && len(all) == 1 {
			return all[0]
		}
		// Some descriptions name a choice twice, which a schema may not.
		if choices, ok := value["enum"].([]any); ok {
			slices.SortFunc(choices, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			value["enum"] = slices.Compact(choices)
		}
		if value["format"] == "int-or-string" {
			return object{"type": []any{"string", "integer"}}
		}
		if _, ok := value["properties"].(object); ok && value["additionalProperties"] == nil {
			value["additionalProperties"] = false
		}
	}
	return value
}

// fromTyped reads the schema that client-go merges objects by.
func fromTyped(file, out string) {
	text, err := os.ReadFile(file)
	check(err)
	_, rest, found := strings.Cut(string(text), "typed.YAMLObject(`")
	if !found {
		check(fmt.Errorf("%s has no schema any more", file))
	}
	schema, _, _ := strings.Cut(rest, "`)")
	var types struct{ Types []object }
	check(yaml.Unmarshal([]byte(schema), &types))
	schemas := object{}
	for _, each := range types.Types {
		name := each["name"].(string)
		switch {
		case strings.HasSuffix(name, ".Quantity"), strings.HasSuffix(name, ".IntOrString"):
			schemas[name] = object{"type": []any{"string", "number"}}
		case strings.HasSuffix(name, ".Time"), strings.HasSuffix(name, ".MicroTime"):
			schemas[name] = object{"type": "string"}
		default:
			schemas[name] = typed(each)
		}
	}
	for name, kind := range others {
		if schemas[name] == nil {
			check(fmt.Errorf("client-go does not know %s", name))
		}
		write(out, kind, name, schemas)
	}
}

func typed(of object) any {
	if name, ok := of["namedType"].(string); ok {
		if name == "__untyped_deduced_" || name == "__untyped_atomic_" {
			return object{}
		}
		return object{"$ref": "#/components/schemas/" + name}
	}
	if scalar, ok := of["scalar"].(string); ok {
		return map[string]any{
			"string":  object{"type": "string"},
			"boolean": object{"type": "boolean"},
			"numeric": object{"type": "number"},
			"untyped": object{},
		}[scalar]
	}
	if list, ok := of["list"].(object); ok {
		return object{"type": "array", "items": typed(list["elementType"].(object))}
	}
	members, ok := of["map"].(object)
	if !ok {
		return object{}
	}
	if fields, ok := members["fields"].([]any); ok {
		properties := object{}
		for _, each := range fields {
			field := each.(object)
			properties[field["name"].(string)] = typed(field["type"].(object))
		}
		return object{"type": "object", "properties": properties, "additionalProperties": false}
	}
	if element, ok := members["elementType"].(object); ok {
		return object{"type": "object", "additionalProperties": typed(element)}
	}
	return object{"type": "object"}
}

// write lays down what kubeconform looks for: kind-group-version.json, with all that it refers to.
func write(out string, kind [3]string, name string, schemas object) {
	group, _, _ := strings.Cut(kind[1], ".")
	parts := []string{strings.ToLower(kind[0])}
	if group != "" {
		parts = append(parts, group)
	}
	file := strings.Join(append(parts, kind[2]), "-") + ".json"
	text, err := json.Marshal(object{"$ref": "#/components/schemas/" + name, "components": object{"schemas": schemas}})
	check(err)
	check(os.WriteFile(filepath.Join(out, file), text, 0o644))
}
