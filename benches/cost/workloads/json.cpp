// rapidjson: a map of 20 KB, most of it coordinates, is parsed into a tree and written twice, compact and
// pretty.
#include <string>

#include "rapidjson/document.h"
#include "rapidjson/prettywriter.h"
#include "rapidjson/stringbuffer.h"
#include "rapidjson/writer.h"

static std::string document() {
  std::string text = "{\"type\": \"FeatureCollection\", \"features\": [";
  for (int i = 0; i < 30; i++) {
    if (i) text += ",\n    ";
    text += "{\"type\": \"Feature\", \"properties\": {\"id\": " + std::to_string(i * 7919) +
            ", \"name\": \"place " + std::to_string(i) +
            ", \\u00e9\", \"open\": true, \"note\": null}, \"geometry\": {\"coordinates\": [";
    for (int j = 0; j < 24; j++)
      text += (j ? ", [" : "[") + std::to_string(13.3 + 0.0137 * i * j) + ", " + std::to_string(52.5 - 0.0071 * i * j) + "]";
    text += "]}}";
  }
  return text + "]}";
}

extern "C" void work() {
  static const std::string text = document();
  rapidjson::Document tree;
  tree.Parse(text.data(), text.size());
  rapidjson::StringBuffer compact, pretty;
  rapidjson::Writer<rapidjson::StringBuffer> writer(compact);
  tree.Accept(writer);
  rapidjson::PrettyWriter<rapidjson::StringBuffer> indenting(pretty);
  tree.Accept(indenting);
}
