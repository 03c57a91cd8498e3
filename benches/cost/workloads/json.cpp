// rapidjson: a shop's catalogue of 400 items, 87 KB of integers, prices, short and long texts, escapes and nulls, is parsed
// into a tree and written twice, compact and pretty.
#include <string>

#include "irregular.h"
#include "rapidjson/document.h"
#include "rapidjson/prettywriter.h"
#include "rapidjson/stringbuffer.h"
#include "rapidjson/writer.h"

static std::string note(Irregular &any) {
  switch (any.below(4)) {
    case 0: return "\"caf\\u00e9 \\\"" + any.words(1) + "\\\"\\n\"";
    case 1: return "\"\"";
    case 2: return "null";
    default: return "\"" + any.words(any.below(30)) + "\"";
  }
}

static std::string item(Irregular &any) {
  std::string text = "{\"id\": " + any.integer(8) + ", \"sku\": \"A-" + any.integer(5) + "\", \"name\": \"" +
                     any.words(1 + any.below(5)) + "\", \"price\": " + any.integer(3) + "." + any.integer(2) +
                     ", \"stock\": " + any.integer(3) + ", \"tags\": [";
  for (uint32_t i = 0, tags = any.below(5); i < tags; i++) text += (i ? ", \"" : "\"") + any.words(1) + "\"";
  text += "], \"size\": {\"w\": " + any.integer(1) + "." + any.integer(1) + ", \"h\": " + any.integer(1) + "." +
          any.integer(1) + "}, \"note\": " + note(any) + ", \"active\": " + (any.once_in(2) ? "true" : "false");
  return text + ", \"parent\": null}";
}

static std::string document() {
  Irregular any;
  std::string text = "{\"items\": [";
  for (int i = 0; i < 400; i++) text += (i ? ", " : "") + item(any);
  return text + "]}";
}

extern "C" void work() {
  static const std::string text = document();
  rapidjson::Document tree;
  tree.Parse(text.c_str());
  rapidjson::StringBuffer compact, pretty;
  rapidjson::Writer<rapidjson::StringBuffer> writer(compact);
  tree.Accept(writer);
  rapidjson::PrettyWriter<rapidjson::StringBuffer> indenting(pretty);
  tree.Accept(indenting);
}
