"""Subsets of ImageNet-1K that have a name: which ten of its classes each holds."""

from __future__ import annotations

#: {name: {place among the 1,000: WordNet id}}, in the order of both. Imagenette and Imagewoof are fastai's, the others are MTT's
#: (Cazenavette et al., CVPR 2022), whose code numbers the classes of all but Imagenette in an order of its own.
SUBSETS: dict[str, dict[int, str]] = {
    "imagenette": {
        0: "n01440764",  # tench
        217: "n02102040",  # English springer
        482: "n02979186",  # cassette player
        491: "n03000684",  # chain saw
        497: "n03028079",  # church
        566: "n03394916",  # French horn
        569: "n03417042",  # garbage truck
        571: "n03425413",  # gas pump
        574: "n03445777",  # golf ball
        701: "n03888257",  # parachute
    },
    "imagewoof": {
        155: "n02086240",  # Shih-Tzu
        159: "n02087394",  # Rhodesian ridgeback
        162: "n02088364",  # beagle
        167: "n02089973",  # English foxhound
        182: "n02093754",  # Border terrier
        193: "n02096294",  # Australian terrier
        207: "n02099601",  # golden retriever
        229: "n02105641",  # Old English sheepdog
        258: "n02111889",  # Samoyed
        273: "n02115641",  # dingo
    },
    "imagefruit": {
        943: "n07718472",  # cucumber
        945: "n07720875",  # bell pepper
        948: "n07742313",  # Granny Smith
        949: "n07745940",  # strawberry
        950: "n07747607",  # orange
        951: "n07749582",  # lemon
        952: "n07753113",  # fig
        953: "n07753275",  # pineapple
        954: "n07753592",  # banana
        957: "n07768694",  # pomegranate
    },
    "imagemeow": {
        281: "n02123045",  # tabby
        282: "n02123159",  # tiger cat
        283: "n02123394",  # Persian cat
        284: "n02123597",  # Siamese cat
        285: "n02124075",  # Egyptian cat
        287: "n02127052",  # lynx
        289: "n02128757",  # snow leopard
        290: "n02128925",  # jaguar
        291: "n02129165",  # lion
        292: "n02129604",  # tiger
    },
    "imagesquawk": {
        9: "n01518878",  # ostrich
        22: "n01614925",  # bald eagle
        84: "n01806143",  # peacock
        88: "n01818515",  # macaw
        89: "n01819313",  # sulphur-crested cockatoo
        96: "n01843383",  # toucan
        100: "n01860187",  # black swan
        130: "n02007558",  # flamingo
        144: "n02051845",  # pelican
        145: "n02056570",  # king penguin
    },
    "imageyellow": {
        11: "n01531178",  # goldfinch
        72: "n01773157",  # black and gold garden spider
        291: "n02129165",  # lion
        309: "n02206856",  # bee
        599: "n03530642",  # honeycomb
        779: "n04146614",  # school bus
        951: "n07749582",  # lemon
        954: "n07753592",  # banana
        986: "n12057211",  # yellow lady's slipper
        987: "n12144580",  # corn
    },
}
